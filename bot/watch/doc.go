// Package watch keeps an eye on the process's memory: it says every half minute
// how much is used (L27), and at the alarm (L28) it warns, collects garbage and
// gives memory back to the system.
package watch
