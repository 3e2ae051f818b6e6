package localpg

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// passwordFile holds the superuser's password, in Dir. A Dir without it has no
// data that could be opened.
const passwordFile = "password"

// defaultSettings are the server's settings; those of the caller win.
func defaultSettings(temporary bool, own map[string]string) map[string]string {
	settings := map[string]string{"timezone": "UTC", "log_timezone": "UTC"}
	if temporary {
		// The data are thrown away: they need not survive a crash of the machine.
		// They do survive one of Postgres.
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, own)
	return settings
}

// settingArgs are the settings as arguments of the program postgres, in a fixed order.
func settingArgs(settings map[string]string) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// password reads the password of Dir, or makes one. fresh reports whether it was made.
func password(dir string) (secret string, fresh bool, err error) {
	path := filepath.Join(dir, passwordFile)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), false, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", false, fmt.Errorf("read the password of Postgres: %w", err)
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	secret = hex.EncodeToString(random)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", false, fmt.Errorf("keep the password of Postgres: %w", err)
	}
	return secret, true, nil
}

// freePort asks the system for a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return port, nil
}
