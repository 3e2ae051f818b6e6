package app

import (
	"os"
	"os/user"
	"strconv"
)

// Operator returns the actor that the history names for a command: cli:<os user>.
// A container may run under a user id that has no name; then it is cli:<user id>.
func Operator() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "cli:" + u.Username
	}
	return "cli:" + strconv.Itoa(os.Getuid())
}
