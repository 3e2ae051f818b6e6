package localpg

import (
	"os"
	"syscall"
)

const (
	sharedMemory = "/dev/shm"
	// memoryNeeded is a whole test run's data several times over.
	memoryNeeded = 4 << 30
)

// TempDir returns the parent for data that are thrown away: a folder in memory that has
// room for them, else os.TempDir. The tests of Dealbox make and drop some hundred
// databases of 600 files each, for which ext4 takes several times as long.
func TempDir() string {
	var fs syscall.Statfs_t
	err := syscall.Statfs(sharedMemory, &fs)
	if err != nil || uint64(fs.Bsize)*fs.Bavail < memoryNeeded || syscall.Access(sharedMemory, 2) != nil {
		return os.TempDir()
	}
	return sharedMemory
}
