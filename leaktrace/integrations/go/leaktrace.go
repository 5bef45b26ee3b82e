// Package leaktrace makes every test a scope of leaktrace, which names the test that leaks.
//
//	func TestMain(m *testing.M) { leaktrace.Main(m) }
//
//	sudo leaktrace check -f junit:leaks.xml -- go test -count=1 ./...
//
// A scope is marked by failing to open a file below /.leaktrace, which leaktrace sees. Without
// leaktrace a mark is one failing system call and does nothing else.
//
// Go opens an epoll fd and an eventfd for itself when they are first needed, and keeps idle
// connections, so the scopes are plain ones: files, listeners and the like that outlive a test
// and are still there when the package's tests are over are its leaks. Tests that run in
// parallel are not told apart: goroutines move between threads.
package leaktrace

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// longest is what a name may have: leaktrace reads 512 bytes, the verb and its slash included.
const longest = 480

// Main runs the tests of a package, each in a scope of its own, and exits.
func Main(m *testing.M) {
	wrap(m)
	mark("keep", "")
	code := m.Run()
	mark("end", "")
	os.Exit(code)
}

// Scope makes a test, or a subtest, a scope until it is over, where TestMain is taken.
func Scope(t testing.TB) {
	t.Helper()
	_, file, _, _ := runtime.Caller(1)
	begin(t, file)
}

func begin(t testing.TB, file string) {
	name := t.Name()
	if file != "" {
		name = relative(file) + "::" + name
	}
	mark("plain", name)
	// The first clean-up registered is the last one that is done.
	t.Cleanup(func() { mark("end", name) })
}

// wrap puts a scope around each test. testing gives no hook for that, so the list of tests is
// changed before it is run; where a version of Go keeps it elsewhere, tests call Scope.
func wrap(m *testing.M) {
	field := reflect.ValueOf(m).Elem().FieldByName("tests")
	if !field.IsValid() || field.Type() != reflect.TypeOf([]testing.InternalTest(nil)) {
		return
	}
	tests := *(*[]testing.InternalTest)(unsafe.Pointer(field.UnsafeAddr()))
	for i := range tests {
		run := tests[i].F
		file := fileOf(run)
		tests[i].F = func(t *testing.T) {
			begin(t, file)
			run(t)
		}
	}
}

func fileOf(run func(*testing.T)) string {
	code := runtime.FuncForPC(reflect.ValueOf(run).Pointer())
	if code == nil {
		return ""
	}
	file, _ := code.FileLine(code.Entry())
	return file
}

// relative is the path below the directory of the module, or the working directory.
func relative(file string) string {
	directory, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(directory, "go.mod")); missing == nil {
			if path, failed := filepath.Rel(directory, file); failed == nil {
				return path
			}
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			break
		}
		directory = parent
	}
	return file
}

func mark(verb, name string) {
	name = strings.ReplaceAll(name, "\x00", "\\0")
	if len(name) > longest {
		digest := sha256.Sum256([]byte(name))
		name = name[:longest-14] + ".." + hex.EncodeToString(digest[:6])
	}
	if file, err := os.Open("/.leaktrace/" + verb + "/" + name); err == nil {
		file.Close()
	}
}
