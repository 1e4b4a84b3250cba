package conversation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Bounds of what is read of a PDF.
const (
	pdfTime   = time.Minute
	mostPages = 500
	pdfRoom   = 2048 // of 64 KiB: memory of the reader
)

// pdfReader is held while a PDF is read: one at a time in a process, as the reader
// takes some 200 MiB for as long (measured).
var pdfReader = make(chan struct{}, 1)

var (
	errNoPDF   = errors.New("it is not a PDF that can be read; it may be damaged, or locked by a password")
	errSlowPDF = errors.New("reading the PDF took too long; split it into parts")
)

// pdfText is the text of a PDF, page by page until there are that many bytes. Strangers
// send them, so PDFium reads them inside a WebAssembly sandbox, without files, in
// bounded memory and time.
func pdfText(ctx context.Context, content []byte, most int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pdfTime)
	defer cancel()
	select {
	case pdfReader <- struct{}{}:
		defer func() { <-pdfReader }()
	case <-ctx.Done():
		return "", errSlowPDF
	}
	text, err := readPDF(ctx, content, most)
	if ctx.Err() != nil {
		return "", errSlowPDF
	}
	return text, err
}

func readPDF(ctx context.Context, content []byte, most int) (string, error) {
	pool, err := webassembly.Init(webassembly.Config{
		Context: ctx, MaxIdle: 1, MaxTotal: 1, FSConfig: wazero.NewFSConfig(), Stdout: io.Discard, Stderr: io.Discard,
		RuntimeConfig: wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true).WithMemoryLimitPages(pdfRoom).
			WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling),
	})
	if err != nil {
		return "", fmt.Errorf("the reader of PDFs did not start: %w", err)
	}
	defer pool.Close()
	reader, err := pool.GetInstance(pdfTime)
	if err != nil {
		return "", fmt.Errorf("the reader of PDFs did not start: %w", err)
	}
	defer reader.Close()
	return pages(reader, content, most)
}

func pages(reader pdfium.Pdfium, content []byte, most int) (string, error) {
	opened, err := reader.OpenDocument(&requests.OpenDocument{File: &content})
	if err != nil {
		return "", errNoPDF
	}
	count, err := reader.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: opened.Document})
	if err != nil {
		return "", errNoPDF
	}
	if count.PageCount > mostPages {
		return "", fmt.Errorf("it has %d pages; split it into parts of at most %d", count.PageCount, mostPages)
	}
	var all strings.Builder
	for i := 0; i < count.PageCount && all.Len() < most; i++ {
		page, err := reader.GetPageText(&requests.GetPageText{Page: requests.Page{ByIndex: &requests.PageByIndex{Document: opened.Document, Index: i}}})
		if err != nil {
			return "", fmt.Errorf("page %d could not be read", i+1)
		}
		all.WriteString(strings.ReplaceAll(page.Text, "\r\n", "\n") + "\n\n")
	}
	if text := strings.TrimSpace(all.String()); text != "" {
		return text, nil
	}
	return "", errors.New("it holds no text; it may be a scan, whose pictures are not read")
}
