package live

import "syscall"

// smallBuffer asks for a small window before a client connects.
func smallBuffer(_, _ string, raw syscall.RawConn) error {
	var err error
	control := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) })
	if control != nil {
		return control
	}
	return err
}
