//go:build !linux

package localpg

import "os"

// TempDir returns the parent for data that are thrown away.
func TempDir() string { return os.TempDir() }
