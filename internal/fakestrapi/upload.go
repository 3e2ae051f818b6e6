package fakestrapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// mediaPlural is the media library's name in REST routes.
const mediaPlural = "upload"

// mediaRoute is one of the routes of the media library.
type mediaRoute int

const (
	noMedia    mediaRoute = iota
	mediaForm             // /api/upload
	mediaFiles            // /api/upload/files
	mediaFile             // /api/upload/files/<id>
)

func (m mediaRoute) methods() []string {
	switch m {
	case mediaForm:
		return []string{http.MethodPost}
	case mediaFiles:
		return []string{http.MethodGet}
	default:
		return []string{http.MethodGet, http.MethodDelete}
	}
}

// readMedia finds the route of a path below /api/upload. Files go by the number
// of their row, not by documentId.
func (q *request) readMedia() {
	rest := q.documentID
	id, isFile := strings.CutPrefix(rest, "files/")
	q.documentID, q.route = "", true
	switch {
	case rest == "" && q.method != http.MethodGet: // a GET is taken for a page, which is not there
		q.media = mediaForm
	case rest == "files":
		q.media = mediaFiles
	case isFile && !strings.Contains(id, "/"):
		q.media, q.documentID = mediaFile, id
	default:
		q.route = false
	}
}

func (s *Strapi) serveMedia(r *http.Request, q request) (body []byte, status int, err error) {
	switch q.media {
	case mediaFiles:
		body, err = s.listFiles(q)
	case mediaFile:
		body, err = s.oneFile(q)
	default:
		return s.takeForm(r, q)
	}
	return body, http.StatusOK, err
}

// listFiles answers GET /api/upload/files: a plain list. It is never cut into
// pages, whatever the request says.
func (s *Strapi) listFiles(q request) ([]byte, error) {
	l, err := s.parseList(s.library, q)
	if err != nil {
		return nil, err
	}
	s.library.store.mu.RLock()
	defer s.library.store.mu.RUnlock()
	var files [][]byte
	for _, f := range s.library.find(l, Fault{}) {
		var b bytes.Buffer
		s.library.write(&b, f.documentID, f.row, published, l.sel)
		files = append(files, unsigned(b.Bytes()))
	}
	return list(files), nil
}

// list is a JSON array.
func list[T ~[]byte](items []T) []byte {
	b := []byte("[")
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return append(b, ']')
}

// oneFile answers GET and DELETE /api/upload/files/<id>.
func (s *Strapi) oneFile(q request) ([]byte, error) {
	id, err := fileID(q.documentID)
	if err != nil {
		return nil, err
	}
	var file json.RawMessage
	if q.method == http.MethodDelete {
		file = s.deleteFile(id)
	} else {
		file = s.readFile(id)
	}
	if file == nil {
		return nil, noFile("file.notFound")
	}
	return unsigned(file), nil
}

// fileID is a row's number. Postgres refuses what is none, with an internal error.
func fileID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, internalError()
	}
	return id, nil
}

func noFile(message string) *Error {
	e := notFound()
	e.Message = message
	return e
}

// takeForm answers POST /api/upload. With ?id=N it changes a file: what is said
// about it, or the file itself.
func (s *Strapi) takeForm(r *http.Request, q request) ([]byte, int, error) {
	f, err := readForm(r)
	if err != nil {
		return nil, 0, err
	}
	ids := q.query.get("id").items()
	empty := len(f.files) == 0 || len(f.files) == 1 && f.files[0].size == 0
	switch {
	case len(ids) == 0 && empty:
		return nil, 0, rejected("Files are empty")
	case len(ids) == 0:
		body, err := s.addFiles(f)
		return body, http.StatusCreated, err
	case len(f.files) > 1:
		return nil, 0, rejected("Cannot replace a file with multiple ones")
	case len(ids) > 1:
		return nil, 0, rejected("File id is required and must be a single value")
	default:
		body, err := s.changeByForm(ids[0], f, !empty)
		return body, http.StatusOK, err
	}
}

// addFiles keeps the files in the order of the form; those before one that is
// refused stay. A real Strapi takes them in the order in which it has written
// them to its disk, which varies.
func (s *Strapi) addFiles(f form) ([]byte, error) {
	infos, err := f.infos()
	if err != nil {
		return nil, err
	}
	var files [][]byte
	for i, u := range f.files {
		if err := u.check(); err != nil {
			return nil, err
		}
		files = append(files, unsigned(s.addFile(u, infos[i])))
	}
	return list(files), nil
}

// changeByForm changes what is said about a file, or replaces it where the form
// has one.
func (s *Strapi) changeByForm(idText string, f form, replace bool) ([]byte, error) {
	change, err := s.change(f, replace)
	if err != nil {
		return nil, err
	}
	id, err := fileID(idText)
	if err != nil {
		return nil, err
	}
	file := change(id)
	if file == nil {
		return nil, noFile("Entity not found")
	}
	return unsigned(file), nil
}

func (s *Strapi) change(f form, replace bool) (func(id int64) json.RawMessage, error) {
	if !replace {
		info, err := f.info()
		return func(id int64) json.RawMessage { return s.editFile(id, info) }, err
	}
	infos, err := f.infos()
	if err != nil {
		return nil, err
	}
	if err := f.files[0].check(); err != nil {
		return nil, err
	}
	return func(id int64) json.RawMessage { return s.replaceFile(id, f.files[0], infos[0]) }, nil
}
