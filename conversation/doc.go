// Package conversation turns what customers wrote into answers: one turn at a
// time for each customer, in the order of arrival.
//
// It promises that every stored message is answered or deliberately skipped,
// exactly once, whatever dies in between: the conversation's row says what is
// still to be done, a turn's only lasting effects are the statements that move
// its cursor, and a sweep finds what a crash left. Beyond the limits (L8 to L12)
// turns wait; nothing is dropped.
package conversation
