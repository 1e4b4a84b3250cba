package store

// Things an endpoint may be able to do, besides CanStream and CanTools.
const (
	CanVision     = "vision"
	CanTranscribe = "transcription"
	CanEmbed      = "embeddings"
	CanSchema     = "json_schema"
)
