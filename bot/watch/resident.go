package watch

import (
	"bytes"
	"os"
	"strconv"
)

// resident is the process's memory as the system counts it; false where it does
// not say so.
func resident() (uint64, bool) {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(status)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return pages * uint64(os.Getpagesize()), err == nil
}
