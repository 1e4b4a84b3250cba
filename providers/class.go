package providers

import "time"

// Class says how an attempt ended. What happens next depends on the class, not
// on a status code.
type Class string

// The classes of providers.md.
const (
	ClassOK          Class = "ok"
	ClassCanceled    Class = "canceled"    // our own context ended
	ClassClientBug   Class = "client_bug"  // the request could not even be built
	ClassNetwork     Class = "network"     // refused, DNS, TLS, reset before an answer began
	ClassFirstByte   Class = "first_byte"  // silent from the start
	ClassStall       Class = "stall"       // fell silent, or took too long
	ClassStreamCut   Class = "stream_cut"  // ended without finish_reason
	ClassMalformed   Class = "malformed"   // a success that holds no answer
	ClassTransient   Class = "transient"   // a fault of theirs that passes
	ClassRateLimit   Class = "rate_limit"  // too many requests
	ClassQuota       Class = "quota"       // the account there has no money
	ClassCredential  Class = "credential"  // the key is refused
	ClassModel       Class = "model"       // no such model
	ClassRegion      Class = "region"      // not served where we are
	ClassContext     Class = "context"     // the prompt is too long
	ClassFilter      Class = "filter"      // refused for what it says
	ClassUnsupported Class = "unsupported" // a parameter it does not know
	ClassCaller      Class = "caller"      // refused as wrong
	ClassUnknown     Class = "unknown"
)

// harm is what a class does to the provider's state in this process.
type harm int

const (
	harmless harm = iota
	trip          // counts against its breaker
	cool          // not asked until its Retry-After has passed
	pause         // switched off in the database for a time, somebody must act
)

// onward says which other providers may answer after a class.
type onward int

const (
	anyOther onward = iota
	oneOther
	filterless // those that may answer what a filter refused
	nobody
)

// rule is what a class means for the turn and for the provider.
type rule struct {
	repeat  bool          // the same provider may be asked once more
	longest time.Duration // pause: the most; the least is first
	first   time.Duration
	harm    harm
	next    onward
	later   bool   // the same question may be answered later, by itself
	says    string // completes "OpenAI …"
	advice  string // what a person can do about it
}

var rules = map[Class]rule{
	ClassCanceled:  {next: nobody, later: true, says: "was not waited for"},
	ClassClientBug: {next: oneOther, says: "cannot be asked like this", advice: "check its model and parameter style"},
	ClassNetwork: {
		repeat: true, harm: trip, later: true,
		says: "cannot be reached", advice: "check the address and the network of this machine",
	},
	ClassFirstByte: {harm: trip, later: true, says: "stayed silent", advice: "it may be overloaded; a model that thinks long needs the parameter style reasoning"},
	ClassStall:     {harm: trip, later: true, says: "fell silent in the middle of its answer"},
	ClassStreamCut: {repeat: true, harm: trip, later: true, says: "broke off in the middle of its answer"},
	ClassMalformed: {harm: trip, later: true, says: "sent something that is no answer", advice: "check that the address is that of an OpenAI-compatible API, often ending in /v1"},
	ClassTransient: {repeat: true, harm: trip, later: true, says: "has a fault of its own"},
	ClassRateLimit: {repeat: true, harm: cool, later: true, says: "was asked too often", advice: "set its requests per minute to what your plan allows"},
	ClassQuota: {
		harm: pause, first: time.Hour, longest: 24 * time.Hour, later: true,
		says: "has no credit left", advice: "add credit to the account there",
	},
	ClassCredential: {
		harm: pause, first: 5 * time.Minute, longest: 24 * time.Hour, later: true,
		says: "refused the API key", advice: "put in a new key",
	},
	ClassModel: {
		harm: pause, first: 6 * time.Hour, longest: 6 * time.Hour, later: true,
		says: "does not have this model", advice: "check the name of the model, or choose another",
	},
	ClassRegion: {
		harm: pause, first: 24 * time.Hour, longest: 24 * time.Hour, later: true,
		says: "does not serve this country", advice: "choose another provider",
	},
	ClassContext:     {says: "found the conversation too long", advice: "set its context window to what the model really has"},
	ClassFilter:      {next: filterless, says: "refused to speak about this"},
	ClassUnsupported: {repeat: true, says: "does not know a parameter of the request"},
	ClassCaller:      {next: oneOther, says: "refused the request as wrong", advice: "check its model and parameter style"},
	ClassUnknown:     {harm: trip, later: true, says: "answered something unexpected", advice: "check the address, often ending in /v1"},
}
