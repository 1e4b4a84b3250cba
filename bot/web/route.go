package web

import (
	"net/http"

	"frontdesk/conversation"
	"frontdesk/store"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// routes are all doors, in reading order: how the process is, the API, the
// console. Each names the least role that may enter.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.alive)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.withToken(store.RoleViewer, promhttp.HandlerFor(s.o.Metrics, promhttp.HandlerOpts{})))
	mux.Handle("/api/", s.api())
	mux.Handle("GET /openapi.json", s.document())
	mux.Handle("GET /docs", s.console(http.HandlerFunc(s.docsPage)))
	mux.Handle("GET /assets/", assets())
	mux.Handle("/", s.console(s.pages()))
	return s.open(s.recovered(secured(mux)))
}

// api is everything under /api/v1.
func (s *Server) api() http.Handler {
	mux := http.NewServeMux()
	s.operations(humago.New(mux, apiConfig(s.o.Version)))
	mux.Handle("POST /api/v1/files", s.withToken(store.RoleAgent, http.HandlerFunc(s.uploadFile)))
	mux.Handle("GET /api/v1/files/{id}", s.withToken(store.RoleViewer, http.HandlerFunc(s.downloadFile)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problem(http.StatusNotFound, "no_such_route", "There is no such route; see /docs"))
	})
	return withoutCookies(mux)
}

// operations are the routes of the API.
func (s *Server) operations(api huma.API) {
	d := doors{s: s, api: api}

	route(d, store.RoleViewer, http.MethodGet, "/accounts", "List accounts", s.listAccounts)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts", "Add an account", s.addAccount)
	route(d, store.RoleViewer, http.MethodGet, "/accounts/{id}", "Read an account", s.readAccount)
	route(d, store.RoleAdmin, http.MethodPatch, "/accounts/{id}", "Change an account", s.changeAccount)
	route(d, store.RoleAdmin, http.MethodPut, "/accounts/{id}/proxy", "Change the way to WhatsApp", s.setProxy)
	route(d, store.RoleAdmin, http.MethodDelete, "/accounts/{id}", "Log out and remove an account", s.removeAccount)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/connect", "Connect an account", s.connectAccount)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/disconnect", "Disconnect an account", s.disconnectAccount)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/logout", "Unlink an account from its phone", s.logOutAccount)
	route(d, store.RoleAdmin, http.MethodGet, "/accounts/{id}/qr", "The code to scan now, as PNG, SVG, text or JSON by Accept", s.accountCode)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/pairing-code", "A code to type on the phone instead of scanning one", s.typedCode)
	route(d, store.RoleAdmin, http.MethodGet, "/accounts/{id}/pairing", "How far the pairing got", s.readPairing)
	route(d, store.RoleAdmin, http.MethodDelete, "/accounts/{id}/pairing", "Cancel the pairing", s.cancelPairing)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/pairing/passkey", "Hand over what a passkey signed", s.answerPasskey)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/pairing/confirm", "Confirm that the phone shows the same code", s.confirmPasskey)
	route(d, store.RoleAdmin, http.MethodGet, "/accounts/{id}/pairing-links", "List links that let somebody pair the account", s.listPairingLinks)
	route(d, store.RoleAdmin, http.MethodPost, "/accounts/{id}/pairing-links", "Make a link that lets somebody pair the account", s.addPairingLink)
	route(d, store.RoleAdmin, http.MethodDelete, "/accounts/{id}/pairing-links", "Withdraw all of these links", s.endPairingLinks)
	route(d, store.RoleViewer, http.MethodGet, "/accounts/{id}/history", "Read the statuses the account has had", s.statusHistory)
	route(d, store.RoleViewer, http.MethodGet, "/accounts/{id}/personas", "List what the bot was told to be, the newest first", s.listPersonas)
	route(d, store.RoleAgent, http.MethodPost, "/accounts/{id}/messages", "Send a message, once for each Idempotency-Key", s.sendMessage)
	route(d, store.RoleViewer, http.MethodGet, "/accounts/{id}/messages/{message_id}", "Read how far a message got", s.readMessage)
	route(d, store.RoleAgent, http.MethodPost, "/accounts/{id}/messages/{message_id}/cancel", "Cancel a message that was not tried yet", s.cancelMessage)

	route(d, store.RoleViewer, http.MethodGet, "/conversations", "List conversations", s.listConversations)
	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}", "Read a conversation", s.readConversation)
	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}/messages", "Read messages, newest page first", s.listMessages)
	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}/timeline", "Read what happened and why", s.readTimeline)
	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}/messages/{seq}/trace", "Read why a customer's message was answered as it was, or not", s.readTrace)
	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}/messages/{seq}/prompt", "Read the exact prompt of the answer to a message, for 30 days", s.readPrompt)
	route(d, store.RoleAgent, http.MethodPatch, "/conversations/{id}", "Assign, tag or mark a conversation as seen", s.changeConversation)
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/takeover", "Take a conversation from the bot", s.ball(store.StateHuman))
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/release", "Give a conversation to the bot, with what nobody has answered", s.ball(store.StateBot))
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/pause", "Have the bot stay silent in a conversation", s.ball(store.StatePaused))
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/close", "Close a conversation; the customer's next word begins anew", s.ball(store.StateClosed))
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/messages", "Reply as a person, who has the conversation then", s.replyAsPerson)
	route(d, store.RoleAgent, http.MethodGet, "/conversations/{id}/notes", "List what people noted for each other", s.listNotes)
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/notes", "Add a note", s.addNote)
	route(d, store.RoleAgent, http.MethodPost, "/conversations/{id}/summary", "Note what the conversation is about, for whoever takes it over", s.sumUp)

	route(d, store.RoleViewer, http.MethodGet, "/conversations/{id}/drafts", "List what the bot wrote and did not send itself, the newest first", s.listDrafts)
	route(d, store.RoleViewer, http.MethodGet, "/drafts", "List drafts that wait for a person", s.listWaitingDrafts)
	route(d, store.RoleAgent, http.MethodPost, "/drafts/{id}/send", "Send a draft, as it is or in other words", s.sendDraft)
	route(d, store.RoleAgent, http.MethodPost, "/drafts/{id}/reject", "Have a draft not sent", s.rejectDraft)

	route(d, store.RoleAgent, http.MethodGet, "/quick-replies", "List words that people use again and again", s.listQuickReplies)
	route(d, store.RoleAgent, http.MethodPost, "/quick-replies", "Add a quick reply", s.addQuickReply)
	route(d, store.RoleAgent, http.MethodDelete, "/quick-replies/{id}", "Remove a quick reply", s.removeQuickReply)

	route(d, store.RoleViewer, http.MethodGet, "/knowledge", "List documents that the bot may answer from", s.listDocuments)
	route(d, store.RoleAdmin, http.MethodPost, "/knowledge", "Add a document, which is indexed soon", s.addDocument)
	route(d, store.RoleViewer, http.MethodGet, "/knowledge/{id}", "Read a document", s.readDocument)
	route(d, store.RoleAdmin, http.MethodPut, "/knowledge/{id}", "Replace a document; the old one answers until the new one is indexed", s.changeDocument)
	route(d, store.RoleAdmin, http.MethodDelete, "/knowledge/{id}", "Remove a document", s.removeDocument)
	route(d, store.RoleAgent, http.MethodPost, "/knowledge/search", "Find what the bot would read for a question", s.searchDocuments)

	route(d, store.RoleAgent, http.MethodGet, "/accounts/{id}/answers", "List the bot's answers, the newest first", s.listAnswers)
	route(d, store.RoleAdmin, http.MethodPost, "/conversations/{id}/rehearse", "Find what the bot would say to a message, with another persona or provider", s.rehearse)

	route(d, store.RoleViewer, http.MethodGet, "/tools", "List services that models may call", s.listTools)
	route(d, store.RoleAdmin, http.MethodPost, "/tools", "Add a service that models may call", s.addTool)
	route(d, store.RoleAdmin, http.MethodPut, "/tools/{id}", "Change a service that models may call", s.changeTool)
	route(d, store.RoleAdmin, http.MethodDelete, "/tools/{id}", "Remove a service that models may call", s.removeTool)

	route(d, store.RoleViewer, http.MethodGet, "/flows", "List flows", s.listFlows)
	route(d, store.RoleAdmin, http.MethodPost, "/flows", "Put a flow: a new one, or a new version of the one with its name", s.putFlow)
	route(d, store.RoleViewer, http.MethodGet, "/flows/{id}", "Read a flow", s.readFlow)
	route(d, store.RoleAdmin, http.MethodPatch, "/flows/{id}", "Switch a flow on or off", s.changeFlow)
	route(d, store.RoleAdmin, http.MethodDelete, "/flows/{id}", "Remove a flow with its webhooks and executions", s.removeFlow)
	route(d, store.RoleViewer, http.MethodGet, "/flows/{id}/versions", "List all versions of a flow, the newest first", s.listFlowVersions)
	route(d, store.RoleViewer, http.MethodGet, "/flows/{id}/versions/{version}", "Read one version of a flow", s.readFlowVersion)
	route(d, store.RoleAgent, http.MethodPost, "/flows/{id}/start", "Start a flow by hand", s.startFlow)

	route(d, store.RoleAdmin, http.MethodGet, "/webhooks", "List addresses that start flows", s.listWebhooks)
	route(d, store.RoleAdmin, http.MethodPost, "/webhooks", "Make an address that starts a flow", s.addWebhook)
	route(d, store.RoleAdmin, http.MethodGet, "/webhooks/{id}", "Read an address that starts a flow", s.readWebhook)
	route(d, store.RoleAdmin, http.MethodPut, "/webhooks/{id}", "Change an address that starts a flow; a new secret has the old one stay good", s.changeWebhook)
	route(d, store.RoleAdmin, http.MethodDelete, "/webhooks/{id}", "Delete an address that starts a flow; it says so from then on (410)", s.removeWebhook)
	route(d, store.RoleAdmin, http.MethodDelete, "/webhooks/{id}/old-secret", "End the life of the secret before the present one", s.forgetOldSecret)

	route(d, store.RoleViewer, http.MethodGet, "/executions", "List executions of flows, the newest first", s.listExecutions)
	route(d, store.RoleViewer, http.MethodGet, "/executions/{id}", "Read an execution with what its steps came to", s.readExecution)
	route(d, store.RoleViewer, http.MethodGet, "/executions/{id}/events", "Read what happened to an execution in the last 24 hours", s.listExecutionEvents)
	route(d, store.RoleAgent, http.MethodPost, "/executions/{id}/cancel", "Have an execution end before its next step", s.cancelExecution)
	route(d, store.RoleAgent, http.MethodPost, "/executions/{id}/replay", "Run an execution again, from its beginning or a step on", s.replayExecution)

	route(d, store.RoleAdmin, http.MethodGet, "/secrets", "List the names of secrets that flows send to other services", s.listSecrets)
	route(d, store.RoleAdmin, http.MethodPut, "/secrets/{name}", "Keep a secret", s.setSecret)
	route(d, store.RoleAdmin, http.MethodDelete, "/secrets/{name}", "Forget a secret", s.removeSecret)

	route(d, store.RoleAgent, http.MethodGet, "/contacts", "List or search people", s.listContacts)
	route(d, store.RoleAgent, http.MethodGet, "/contacts/lookup", "Find who has an address, in any form, with all known ones", s.lookUpContact)
	route(d, store.RoleAgent, http.MethodGet, "/contacts/{id}", "Read a person with all known addresses", s.readContact)
	route(d, store.RoleAdmin, http.MethodPost, "/contacts/{id}/merge", "Say that two contacts are one person", s.mergeContacts)
	route(d, store.RoleAdmin, http.MethodPost, "/contacts/{id}/unmerge", "Take the merge of a contact back", s.unmergeContact)

	route(d, store.RoleViewer, http.MethodGet, "/alerts", "List what somebody must look at", s.listAlerts)
	route(d, store.RoleAgent, http.MethodPost, "/alerts/{id}/seen", "Note that somebody has seen an alert", s.seeAlert)
	route(d, store.RoleViewer, http.MethodGet, "/processes", "List the processes that share the database", s.listProcesses)
	route(d, store.RoleAdmin, http.MethodGet, "/audit", "List who did what", s.listAudit)

	route(d, store.RoleViewer, http.MethodGet, "/providers", "List AI providers in the order they are asked", s.listProviders)
	route(d, store.RoleViewer, http.MethodGet, "/providers/presets", "List well-known services to begin a provider with", s.listPresets)
	route(d, store.RoleAdmin, http.MethodPost, "/providers", "Add an AI provider", s.addProvider)
	route(d, store.RoleViewer, http.MethodGet, "/providers/{id}", "Read an AI provider", s.readProvider)
	route(d, store.RoleAdmin, http.MethodPatch, "/providers/{id}", "Change an AI provider", s.changeProvider)
	route(d, store.RoleAdmin, http.MethodDelete, "/providers/{id}", "Remove an AI provider", s.removeProvider)
	route(d, store.RoleAdmin, http.MethodPost, "/providers/{id}/test", "Ask an AI provider for a word", s.testProvider)
	route(d, store.RoleViewer, http.MethodGet, "/providers/{id}/usage", "Read an AI provider's daily usage", s.providerUsage)
	route(d, store.RoleViewer, http.MethodGet, "/attempts", "List calls of AI providers, the newest first", s.listAttempts)
}

// pages are the routes of the console.
func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	page := func(role store.Role, pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, s.signedIn(role, s.page(h)))
	}
	mux.Handle("GET /sign-in", s.page(s.signInPage))
	mux.Handle("POST /sign-in", s.page(s.signIn))
	mux.Handle("POST /sign-out", s.page(s.signOut))
	mux.Handle("GET /pair/{secret}", s.page(s.sharedPage))
	mux.Handle("GET /pair/{secret}/live", s.page(s.sharedLive))
	mux.Handle("POST /pair/{secret}/{action}", s.page(s.sharedAct))
	page(store.RoleViewer, "GET /{$}", s.homePage)
	page(store.RoleViewer, "GET /accounts", s.accountsPage)
	page(store.RoleViewer, "GET /accounts/live", s.accountsLive)
	page(store.RoleAdmin, "POST /accounts", s.accountAdd)
	page(store.RoleViewer, "GET /accounts/{id}", s.accountPage)
	page(store.RoleViewer, "GET /accounts/{id}/live", s.accountLive)
	page(store.RoleAdmin, "POST /accounts/{id}", s.accountChange)
	page(store.RoleViewer, "GET /accounts/{id}/history", s.historyPage)
	page(store.RoleAdmin, "GET /accounts/{id}/house", s.housePage)
	page(store.RoleAdmin, "POST /accounts/{id}/house", s.houseChange)
	page(store.RoleAdmin, "GET /accounts/{id}/replay", s.replayPage)
	page(store.RoleAdmin, "POST /accounts/{id}/replay", s.replayPage)
	page(store.RoleAdmin, "POST /accounts/{id}/replay/{conversation}/{seq}", s.replayAnswer)
	page(store.RoleAdmin, "POST /accounts/{id}/share", s.accountShare)
	page(store.RoleAdmin, "POST /accounts/{id}/{action}", s.accountAct)
	page(store.RoleViewer, "GET /conversations", s.conversationsPage)
	page(store.RoleViewer, "GET /conversations/list", s.conversationsList)
	page(store.RoleViewer, "GET /conversations/{id}", s.conversationPage)
	page(store.RoleViewer, "GET /conversations/{id}/messages/{seq}", s.messagePage)
	page(store.RoleAgent, "POST /conversations/{id}/{action}", s.conversationAct)
	page(store.RoleViewer, "GET /conversations/{id}/live", s.conversationLive)
	page(store.RoleViewer, "GET /files/{id}", s.serveFile)
	page(store.RoleViewer, "GET /knowledge", s.knowledgePage)
	page(store.RoleViewer, "GET /knowledge/live", s.knowledgeLive)
	mux.Handle("POST /knowledge", s.signedIn(store.RoleAdmin, s.pageWith(conversation.MostFile+mostForm, s.knowledgeAdd)))
	page(store.RoleAdmin, "POST /knowledge/{id}/remove", s.knowledgeRemove)
	page(store.RoleAdmin, "GET /tools", s.toolsPage)
	page(store.RoleAdmin, "POST /tools", s.toolSave)
	page(store.RoleAdmin, "POST /tools/{id}/remove", s.toolRemove)
	page(store.RoleViewer, "GET /flows", s.flowsPage)
	page(store.RoleAdmin, "POST /flows", s.flowAdd)
	page(store.RoleAdmin, "POST /secrets", s.secretSave)
	page(store.RoleAdmin, "POST /secrets/forget", s.secretForget)
	page(store.RoleViewer, "GET /flows/{id}", s.flowPage)
	page(store.RoleViewer, "GET /flows/{id}/live", s.flowLive)
	page(store.RoleAdmin, "POST /flows/{id}", s.flowSave)
	page(store.RoleAgent, "POST /flows/{id}/try", s.flowTry)
	page(store.RoleAdmin, "POST /flows/{id}/addresses", s.addressAdd)
	page(store.RoleAdmin, "POST /flows/{id}/addresses/{webhook}/{action}", s.addressAct)
	page(store.RoleViewer, "GET /flows/{id}/versions/{version}", s.versionPage)
	page(store.RoleAdmin, "POST /flows/{id}/versions/{version}", s.versionAgain)
	page(store.RoleAdmin, "POST /flows/{id}/{action}", s.flowAct)
	page(store.RoleViewer, "GET /executions", s.executionsPage)
	page(store.RoleViewer, "GET /executions/live", s.executionsLive)
	page(store.RoleViewer, "GET /executions/{id}", s.executionPage)
	page(store.RoleViewer, "GET /executions/{id}/live", s.executionLive)
	page(store.RoleViewer, "GET /executions/{id}/events", s.executionEvents)
	page(store.RoleAgent, "POST /executions/{id}/{action}", s.executionAct)
	if s.o.Live != nil {
		mux.Handle("GET /live/events", s.signedIn(store.RoleViewer, http.HandlerFunc(s.liveEvents)))
	}
	page(store.RoleViewer, "GET /providers", s.providersPage)
	page(store.RoleViewer, "GET /providers/live", s.providersLive)
	page(store.RoleAdmin, "GET /providers/new", s.providerNew)
	page(store.RoleAdmin, "POST /providers", s.providerAdd)
	page(store.RoleAdmin, "GET /providers/{id}", s.providerPage)
	page(store.RoleAdmin, "GET /providers/{id}/live", s.providerLive)
	page(store.RoleAdmin, "GET /providers/{id}/attempts", s.providerAttempts)
	page(store.RoleAdmin, "POST /providers/{id}", s.providerChange)
	page(store.RoleAdmin, "POST /providers/{id}/{action}", s.providerAct)
	page(store.RoleViewer, "GET /processes", s.processesPage)
	page(store.RoleViewer, "GET /processes/live", s.processesLive)
	page(store.RoleAgent, "POST /alerts/{id}/seen", s.alertSeen)
	page(store.RoleAgent, "GET /try", s.tryPage)
	page(store.RoleAgent, "GET /try/live", s.tryLive)
	page(store.RoleAgent, "POST /try", s.trySend)
	mux.Handle("/", s.signedIn(store.RoleViewer, s.page(s.missingPage)))
	return mux
}
