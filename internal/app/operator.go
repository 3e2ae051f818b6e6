package app

import (
	"os"
	"os/user"
	"strconv"
)

// Operator returns the actor that the history names for a command: cli:<os user>.
func Operator() string {
	u, err := user.Current()
	if err != nil {
		u = &user.User{}
	}
	return operatorName(u.Username, os.Getuid())
}

// operatorName falls back on the user id: a container may run under one that has no name.
func operatorName(username string, uid int) string {
	if username == "" {
		username = strconv.Itoa(uid)
	}
	return "cli:" + username
}
