package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errNoBinaries: this machine has no Postgres binaries that can be used.
var errNoBinaries = errors.New("no Postgres binaries (15 or later) in PATH, /usr/lib/postgresql, Homebrew's folders or Postgres.app")

// places are the folders where packagers put initdb and postgres.
var places = []string{
	"/usr/lib/postgresql/*/bin",                                       // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                                // PGDG's RPMs
	"/opt/homebrew/opt/postgresql@*/bin",                              // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",                                 // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",                 // Homebrew, Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin",              // Postgres.app
	"/usr/libexec/postgresql*",                                        // Alpine
	"/usr/local/pgsql/bin",                                            // built from source
	"/nix/var/nix/profiles/default/bin", "/usr/local/bin", "/usr/bin", // a PATH cut short
}

// installation is a folder with the binaries of one version.
type installation struct {
	bin     string
	version int    // major
	full    string // e.g. 15.18
}

// find picks the installation for a data folder of version major (0: no data
// yet): of that very version, else the one in PATH, else the highest.
func find(ctx context.Context, dirs []string, major int) (installation, error) {
	all := installations(ctx, dirs)
	if err := ctx.Err(); err != nil {
		return installation{}, fmt.Errorf("look for Postgres: %w", err)
	}
	if len(all) == 0 {
		return installation{}, errNoBinaries
	}
	if major == 0 {
		return pick(all), nil
	}
	for _, i := range all {
		if i.version == major {
			return i, nil
		}
	}
	return installation{}, &VersionError{Data: major, Found: versions(all)}
}

// pick prefers what the user put into PATH, which comes first, to a higher version elsewhere.
func pick(all []installation) installation {
	if path, err := exec.LookPath("postgres"); err == nil {
		if bin, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(bin) == all[0].bin {
			return all[0]
		}
	}
	return slices.MaxFunc(all, func(a, b installation) int { return a.version - b.version })
}

// VersionError is the error for data that were made by a Postgres that is not here.
type VersionError struct {
	Data  int    // major version of the data
	Found string // versions of this machine, in words
	Dir   string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the data in %s were made by PostgreSQL %d, and this machine has %s: install PostgreSQL %d, or empty the folder to start anew",
		e.Dir, e.Data, e.Found, e.Data)
}

// installations asks each folder that has both programs for its version.
func installations(ctx context.Context, dirs []string) []installation {
	var all []installation
	for _, dir := range dirs {
		if slices.ContainsFunc(all, func(i installation) bool { return i.bin == dir }) {
			continue
		}
		if i, err := inspect(ctx, dir); err == nil && i.version >= MinVersion {
			all = append(all, i)
		}
	}
	return all
}

// candidates are the folders to look at: PATH's first.
func candidates() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(resolved))
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // only a bad pattern is an error
		dirs = append(dirs, found...)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

func inspect(ctx context.Context, bin string) (installation, error) {
	i := installation{bin: bin}
	if _, err := os.Stat(i.program("initdb")); err != nil {
		return i, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, i.program("postgres"), "--version").Output()
	if err != nil {
		return i, err
	}
	match := versionPattern.FindStringSubmatch(string(out))
	if match == nil {
		return i, fmt.Errorf("no version in %q", out)
	}
	i.full = match[1]
	i.version, err = strconv.Atoi(match[2])
	return i, err
}

func (i installation) program(name string) string { return filepath.Join(i.bin, name) }

func versions(all []installation) string {
	var names []string
	for _, i := range all {
		names = append(names, "PostgreSQL "+i.full)
	}
	return strings.Join(names, " and ")
}

// dataVersion is the major version that made the data folder; 0 when there are no data.
func dataVersion(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the version of the data in %s: %w", data, err)
	}
	return major, nil
}

// install says how to get Postgres or Docker.
const install = `install one of them and try again:
  Debian, Ubuntu:  apt-get install postgresql
  Fedora:          dnf install postgresql-server
  macOS:           brew install postgresql@17
  or start Docker: the container postgres:15 is used where it answers`

// MissingError is the error of a machine with neither a Postgres nor a Docker to run one.
type MissingError struct {
	Docker error // what Docker's client said
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%v, and Docker does not answer (%v); %s", errNoBinaries, e.Docker, install)
}

func (e *MissingError) Unwrap() error { return errNoBinaries }

// IsMissing reports whether this machine has no Postgres binaries that can be used.
func IsMissing(err error) bool { return errors.Is(err, errNoBinaries) }
