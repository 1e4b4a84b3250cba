// Package providers asks AI models for answers: OpenAI-compatible endpoints,
// kept as rows in Postgres, in the order people gave them.
//
// It promises that the first provider able to answer does, that a customer
// never sees a cut or mixed answer nor the error of a provider that failed on
// the way, that no daily limit is ever passed, and that nobody waits long for a
// provider that is silent. Keys and texts never reach its log.
package providers
