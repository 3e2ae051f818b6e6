package realstrapi

import (
	"io/fs"
	"os"
	"path/filepath"
)

// pluginName is the package that the repository's plugin is.
const pluginName = "strapi-plugin-dealbox-webhooks"

// ownFiles are those that the app makes for itself, beside what is committed.
var ownFiles = map[string]bool{
	"node_modules": true, ".env": true, ".tmp": true, ".strapi": true, "dist": true, "build": true,
}

// makeApp copies the example app to dir, so that a running Strapi writes nothing
// into the repository, and links what is installed and the plugin.
func makeApp(source, modules, dir string) error {
	if err := copyTree(filepath.Join(source, "example"), dir); err != nil {
		return err
	}
	linked := filepath.Join(dir, "node_modules")
	if err := os.Mkdir(linked, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(modules)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == pluginName {
			continue
		}
		if err := os.Symlink(filepath.Join(modules, entry.Name()), filepath.Join(linked, entry.Name())); err != nil {
			return err
		}
	}
	plugin, err := filepath.Abs(filepath.Join(source, "plugin"))
	if err != nil {
		return err
	}
	return os.Symlink(plugin, filepath.Join(linked, pluginName))
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		target := filepath.Join(to, relative)
		switch {
		case err != nil:
			return err
		case ownFiles[entry.Name()] && entry.IsDir():
			return filepath.SkipDir
		case ownFiles[entry.Name()]:
			return nil
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}
