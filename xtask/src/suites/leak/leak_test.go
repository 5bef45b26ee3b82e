package http_test

import (
	"syscall"
	"testing"
)

func TestLeak(t *testing.T) {
	if _, _, errno := syscall.Syscall(syscall.SYS_SHMGET, 0, 4096, 0600); errno != 0 {
		t.Fatal(errno)
	}
}
