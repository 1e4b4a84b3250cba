package store

import (
	"slices"
	"strings"
)

// Things an endpoint may be able to do. All but the last two are about chats.
const (
	CanStream     = "streaming"
	CanTools      = "tools"
	CanVision     = "vision"
	CanSchema     = "json_schema" // answers in a given form
	CanTranscribe = "transcription"
	CanEmbed      = "embeddings"
)

// Capabilities are all of them.
func Capabilities() []string {
	return []string{CanStream, CanTools, CanVision, CanSchema, CanTranscribe, CanEmbed}
}

// unknownCapability is the first that is none, or "".
func unknownCapability(given []string) string {
	for _, c := range given {
		if !slices.Contains(Capabilities(), c) {
			return c
		}
	}
	return ""
}

func capabilityProblem(given []string) string {
	return "\"" + unknownCapability(given) + "\" is not something a provider can do; there are " + strings.Join(Capabilities(), ", ")
}
