package fakestrapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// flushEvery is how long changes are collected before they are written: a
// document that changes often is written once.
const flushEvery = 250 * time.Millisecond

const sequencesFile = "sequences.json"

// persister keeps the documents on disk: one file each, in a folder named
// after the type's plural. Files are replaced whole, so a process that dies
// leaves the old or the new one. They are not synced: after a power cut the
// last seconds may be gone, which is right for a simulation.
type persister struct {
	dir    string
	store  *store
	logger *slog.Logger
	wake   chan struct{} // something is dirty
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu    sync.Mutex
	dirty map[documentKey]struct{}
}

type documentKey struct{ uid, documentID string }

// savedDocument is a document's file.
type savedDocument struct {
	DocumentID string    `json:"documentId"`
	Locale     string    `json:"locale,omitempty"`
	Published  *savedRow `json:"published,omitempty"`
	Draft      *savedRow `json:"draft,omitempty"`
}

type savedRow struct {
	ID          int64                      `json:"id"`
	CreatedAt   time.Time                  `json:"createdAt"`
	UpdatedAt   time.Time                  `json:"updatedAt"`
	PublishedAt *time.Time                 `json:"publishedAt"`
	Values      map[string]json.RawMessage `json:"values"`
	Links       map[string]savedLink       `json:"links,omitempty"`
}

type savedLink struct {
	DocumentID string `json:"documentId"`
	Order      int64  `json:"order"`
}

// savedSequences are the last numbers given, so that ids go on where they were.
type savedSequences struct {
	Order int64            `json:"order"`
	IDs   map[string]int64 `json:"ids"` // by UID
}

// openPersister loads what the folder holds into the store and keeps the
// folder up to date from then on.
func openPersister(dir string, s *store, logger *slog.Logger) (*persister, error) {
	p := &persister{
		dir: dir, store: s, logger: logger, dirty: map[documentKey]struct{}{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	for _, t := range s.tables {
		if err := os.MkdirAll(filepath.Join(dir, t.Plural), 0o700); err != nil {
			return nil, fmt.Errorf("keep the fake Strapi's documents: %w", err)
		}
	}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("load the fake Strapi's documents from %s: %w", dir, err)
	}
	s.touched = p.touch
	go p.run()
	return p, nil
}

// touch notes a changed document. The store's lock is held.
func (p *persister) touch(uid, documentID string) {
	p.mu.Lock()
	p.dirty[documentKey{uid, documentID}] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *persister) run() {
	defer close(p.done)
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		}
		select {
		case <-p.stop:
			return
		case <-time.After(flushEvery):
		}
		if err := p.flush(); err != nil {
			p.logger.Error("the fake Strapi cannot keep its documents; it will try again with the next change",
				"dir", p.dir, "error", err)
		}
	}
}

// close writes what is not on disk yet.
func (p *persister) close() error {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	if err := p.flush(); err != nil {
		return fmt.Errorf("keep the fake Strapi's documents: %w", err)
	}
	return nil
}

// flush writes every changed document. What fails stays marked.
func (p *persister) flush() error {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = map[documentKey]struct{}{}
	p.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	errs := []error{p.writeSequences()}
	for key := range dirty {
		if err := p.writeDocument(key); err != nil {
			errs = append(errs, err)
			p.mu.Lock()
			p.dirty[key] = struct{}{}
			p.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

func (p *persister) writeDocument(key documentKey) error {
	path := filepath.Join(p.dir, p.store.tables[key.uid].Plural, fileName(key.documentID))
	p.store.mu.RLock()
	t := p.store.tables[key.uid]
	d, ok := t.docs[key.documentID]
	var saved savedDocument
	if ok {
		id, locale := t.unkey(d.id)
		saved = savedDocument{DocumentID: id, Locale: locale, Published: d.rows[published].saved(), Draft: d.rows[draft].saved()}
	}
	p.store.mu.RUnlock()
	if !ok {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return writeFile(path, saved)
}

func (p *persister) writeSequences() error {
	p.store.mu.RLock()
	saved := savedSequences{Order: p.store.order, IDs: map[string]int64{}}
	for uid, t := range p.store.tables {
		saved.IDs[uid] = t.seq
	}
	p.store.mu.RUnlock()
	return writeFile(filepath.Join(p.dir, sequencesFile), saved)
}

// writeFile replaces a file whole.
func writeFile(path string, content any) error {
	b, err := encode(content)
	if err != nil {
		return err
	}
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// fileName returns the documentId where that is a safe name, as Strapi's own are;
// imported ones may be anything.
func fileName(documentID string) string {
	safe := len(documentID) > 0 && len(documentID) <= 64
	for _, c := range documentID {
		safe = safe && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !safe {
		sum := sha256.Sum256([]byte(documentID))
		documentID = "sha256-" + hex.EncodeToString(sum[:])
	}
	return documentID + ".json"
}

func (p *persister) load() error {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	for _, t := range p.store.tables {
		files, err := os.ReadDir(filepath.Join(p.dir, t.Plural))
		if err != nil {
			return err
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".json") {
				p.loadDocument(t, filepath.Join(p.dir, t.Plural, f.Name()))
			}
		}
	}
	return p.loadSequences()
}

// loadDocument reads one file.
//
// Failure policy: a file that cannot be read is left out, with a warning. The
// documents are made up, and one bad file must not keep `dealbox dev` from starting.
func (p *persister) loadDocument(t *table, path string) {
	var saved savedDocument
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err != nil || saved.DocumentID == "" {
		p.logger.Warn("a document of the fake Strapi cannot be read and is left out", "file", path, "error", err)
		return
	}
	for where, r := range map[slot]*savedRow{published: saved.Published, draft: saved.Draft} {
		if r == nil || where == draft && !t.Drafts {
			continue
		}
		t.put(t.key(saved.DocumentID, saved.Locale), where, r.row())
		t.seq = max(t.seq, r.ID)
		for _, l := range r.Links {
			p.store.order = max(p.store.order, l.Order)
		}
	}
}

func (p *persister) loadSequences() error {
	var saved savedSequences
	b, err := os.ReadFile(filepath.Join(p.dir, sequencesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &saved); err != nil {
		p.logger.Warn("the sequences of the fake Strapi cannot be read; ids go on after the highest one", "error", err)
		return nil
	}
	p.store.order = max(p.store.order, saved.Order)
	for uid, t := range p.store.tables {
		t.seq = max(t.seq, saved.IDs[uid])
	}
	return nil
}

func (r *row) saved() *savedRow {
	if r == nil {
		return nil
	}
	s := &savedRow{
		ID: r.id, CreatedAt: r.createdAt, UpdatedAt: r.updatedAt, Values: r.values, Links: map[string]savedLink{},
	}
	if !r.publishedAt.IsZero() {
		s.PublishedAt = &r.publishedAt
	}
	for name, l := range r.links {
		s.Links[name] = savedLink{l.target, l.order}
	}
	return s
}

func (s *savedRow) row() *row {
	r := (&row{id: s.ID, createdAt: s.CreatedAt.UTC(), updatedAt: s.UpdatedAt.UTC(), values: s.Values}).copy()
	if s.PublishedAt != nil {
		r.publishedAt = s.PublishedAt.UTC()
	}
	for name, l := range s.Links {
		r.links[name] = link{l.DocumentID, l.Order}
	}
	return r
}
