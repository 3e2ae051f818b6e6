package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxSubject is how many characters a commit's first line may have.
const maxSubject = 72

type subjects struct {
	base      string
	long, all int
}

// commitSubjects counts the commits after base up to rev, or up to HEAD.
// Merges have subjects that git writes, and are left out.
func commitSubjects(root, base, rev string) (*subjects, error) {
	if rev == "" {
		rev = "HEAD"
	}
	out, err := git(root, "log", "--no-merges", "--format=%s", base+".."+rev)
	if err != nil {
		return nil, err
	}
	s := &subjects{base: base}
	for line := range strings.Lines(string(out)) {
		s.all++
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > maxSubject {
			s.long++
		}
	}
	return s, nil
}

// checkOut writes the files of a commit to a new temporary folder, which is the
// caller's to remove.
func checkOut(root, rev string) (string, error) {
	archive, err := git(root, "archive", "--format=tar", rev)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "dealbox-repocheck-")
	if err != nil {
		return "", err
	}
	if err := unpack(archive, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func unpack(archive []byte, dir string) error {
	files := tar.NewReader(bytes.NewReader(archive))
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		if !filepath.IsLocal(head.Name) {
			return fmt.Errorf("the archive names %q, outside of it", head.Name)
		}
		name := filepath.Join(dir, head.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
}

func git(root string, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...) //nolint:noctx // ends by itself
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
