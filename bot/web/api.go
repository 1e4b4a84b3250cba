package web

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"frontdesk/store"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const apiPrefix = "/api/v1"

func apiConfig(version string) huma.Config {
	c := huma.DefaultConfig("frontdesk", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.Info.Description = "Accounts on WhatsApp, their conversations, and the AI providers that answer. Errors are problem+json with a stable code."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A token of `frontdesk tokens create`"},
		"key":    {Type: "apiKey", In: "header", Name: "X-Api-Key", Description: "The same token"},
	}
	return c
}

// doors is what route needs: huma's functions cannot be methods with types of
// their own.
type doors struct {
	s   *Server
	api huma.API
}

// route adds an operation that needs a role. Errors of its handler are translated.
func route[I, O any](d doors, least store.Role, method, path, summary string, handle func(context.Context, *I) (*O, error)) {
	operation := huma.Operation{
		OperationID: operationID(method, path), Method: method, Path: apiPrefix + path, Summary: summary,
		Description: "Role: " + string(least) + " or stronger.",
		Tags:        []string{strings.Split(path, "/")[1]},
		Security:    []map[string][]string{{"bearer": {}}, {"key": {}}},
		Middlewares: huma.Middlewares{d.s.guard(least)},
		Metadata:    map[string]any{"role": least},
		Errors:      []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusInternalServerError},
	}
	if method == http.MethodDelete {
		operation.DefaultStatus = http.StatusNoContent
	}
	if method == http.MethodPost && (strings.HasSuffix(path, "s") || path == "/knowledge") {
		operation.DefaultStatus = http.StatusCreated
		if strings.HasSuffix(path, "/messages") {
			operation.DefaultStatus = http.StatusAccepted
		}
	}
	huma.Register(d.api, operation, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, d.s.problemOf(ctx, err)
		}
		return out, nil
	})
}

var notWord = regexp.MustCompile(`[^a-z]+`)

// operationID reads "get-accounts-id-qr".
func operationID(method, path string) string {
	return strings.Trim(notWord.ReplaceAllString(strings.ToLower(method+path), "-"), "-")
}

// OpenAPI is the description of the API, as served at /openapi.json.
func OpenAPI(version string) ([]byte, error) {
	api := humago.New(http.NewServeMux(), apiConfig(version))
	(&Server{}).operations(api)
	return api.OpenAPI().MarshalJSON()
}

// document serves the description.
func (s *Server) document() http.Handler {
	text, err := OpenAPI(s.o.Version)
	if err != nil {
		panic(err) // it is made of our own types
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json")
		_, _ = w.Write(text)
	})
}

// list is a page of items. Next asks for the following one, if there is one.
type list[T any] struct {
	Body struct {
		Items []T    `json:"items"`
		Next  string `json:"next,omitempty" doc:"Pass it as ?after= to get the next page"`
	}
}

func listOf[T any](items []T, next string) *list[T] {
	var l list[T]
	l.Body.Items, l.Body.Next = items, next
	if items == nil {
		l.Body.Items = []T{}
	}
	return &l
}

// one is a single item.
type one[T any] struct{ Body T }

// ByID names one item.
type ByID struct {
	ID int64 `path:"id" minimum:"1"`
}
