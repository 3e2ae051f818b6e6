package realstrapi

import (
	"fmt"
	"os"
	"path/filepath"
)

// Cache returns the folder for Install: DEALBOX_CI_CACHE, which CI sets to one that
// outlives a run, else one below the user's cache.
func Cache() (string, error) {
	dir := os.Getenv("DEALBOX_CI_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder to install Strapi in: %w", err)
		}
		dir = filepath.Join(user, "dealbox")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder to install Strapi in: %w", err)
	}
	return dir, nil
}
