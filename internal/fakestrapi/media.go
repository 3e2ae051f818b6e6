package fakestrapi

import (
	"bytes"
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The media library: the names, types and sizes of files, not what is in them.
// It is in memory only, also with Config.Dir. Images are files like any other:
// the fake gives them no width, no height and no smaller formats.

// The events of the media library. Only a webhook that asks for them gets them.
const (
	mediaCreate = "media.create"
	mediaUpdate = "media.update"
	mediaDelete = "media.delete"
)

const fileUID = "plugin::upload.file"

// newLibrary is a store of its own: files have no route like those of the
// content types, and the document service does not know them.
func newLibrary() *table {
	return newStore([]Type{{UID: fileUID, Attributes: []Attribute{
		{Name: "name", Kind: String},
		{Name: "alternativeText", Kind: String},
		{Name: "caption", Kind: String},
		{Name: "focalPoint", Kind: JSON},
		{Name: "width", Kind: Integer},
		{Name: "height", Kind: Integer},
		{Name: "formats", Kind: JSON},
		{Name: "hash", Kind: String},
		{Name: "ext", Kind: String},
		{Name: "mime", Kind: String},
		{Name: "size", Kind: Decimal},
		{Name: "url", Kind: String},
		{Name: "previewUrl", Kind: String},
		{Name: "provider", Kind: String},
		{Name: "provider_metadata", Kind: JSON},
	}}}).tables[fileUID]
}

// upload is one file of a form.
type upload struct {
	name, mime string
	size       int64
}

// fileInfo is what a client may say about a file. An absent value is nil.
type fileInfo struct {
	name, alternativeText, caption *string
	focalPoint                     json.RawMessage
}

// addFile keeps a new file and sends media.create. The names were checked.
func (s *Strapi) addFile(u upload, info fileInfo) json.RawMessage {
	name := u.name
	if info.name != nil && *info.name != "" {
		name = *info.name
	}
	ext, kind := u.ext(), u.kind()
	hash := slug(strings.TrimSuffix(name, ext)) + "_" + s.chance.hex(10)
	return s.changeFile(mediaCreate, func(at time.Time) *found {
		r := (&row{id: s.library.nextID(), createdAt: at, publishedAt: at}).copy()
		r.describe(u.size, kind)
		info.apply(r)
		r.set("name", name)
		r.set("hash", hash)
		r.set("ext", ext)
		r.set("url", "/uploads/"+hash+ext)
		r.set("provider", "local")
		return &found{documentID: s.chance.documentID(), row: r}
	})
}

// editFile changes what is said about a file: media.update, also when nothing
// changes. nil: there is no such file.
func (s *Strapi) editFile(id int64, info fileInfo) json.RawMessage {
	return s.changeFile(mediaUpdate, func(time.Time) *found {
		f := s.library.file(id)
		if f != nil {
			info.apply(f.row)
		}
		return f
	})
}

// replaceFile puts another file in the place of one. Its URL stays, so its
// extension does, whatever the new file is. Event: media.update.
func (s *Strapi) replaceFile(id int64, u upload, info fileInfo) json.RawMessage {
	return s.changeFile(mediaUpdate, func(time.Time) *found {
		f := s.library.file(id)
		if f == nil {
			return nil
		}
		f.row.describe(u.size, u.kind())
		f.row.set("name", u.name)
		delete(f.row.values, "focalPoint")
		f.row.values["formats"] = json.RawMessage("{}")
		info.apply(f.row)
		return f
	})
}

// changeFile stores what change makes and sends the event.
func (s *Strapi) changeFile(event string, change func(at time.Time) *found) json.RawMessage {
	at := s.now()
	store := s.library.store
	store.mu.Lock()
	f := change(at)
	if f == nil {
		store.mu.Unlock()
		return nil
	}
	f.row.updatedAt = at
	s.library.put(f.documentID, published, f.row)
	file := s.library.payload(f.documentID, f.row, published, scalars)
	store.mu.Unlock()
	s.sendMedia(event, f.documentID, file)
	return file
}

// readFile is a file as it is now; nil: there is none.
func (s *Strapi) readFile(id int64) json.RawMessage {
	store := s.library.store
	store.mu.RLock()
	defer store.mu.RUnlock()
	f := s.library.file(id)
	if f == nil {
		return nil
	}
	return s.library.payload(f.documentID, f.row, published, scalars)
}

// deleteFile removes a file. Event: media.delete, with the file as it was.
func (s *Strapi) deleteFile(id int64) json.RawMessage {
	store := s.library.store
	store.mu.Lock()
	f := s.library.file(id)
	if f == nil {
		store.mu.Unlock()
		return nil
	}
	file := s.library.payload(f.documentID, f.row, published, scalars)
	s.library.drop(f.documentID, published)
	store.mu.Unlock()
	s.sendMedia(mediaDelete, f.documentID, file)
	return file
}

func (s *Strapi) sendMedia(event, documentID string, file json.RawMessage) {
	s.Webhooks.enqueue(job{event: event, documentID: documentID, media: file})
}

// file finds a file by its number, as the routes do, and copies its row. The
// library's lock is held.
func (t *table) file(id int64) *found {
	for documentID, d := range t.docs {
		if r := d.rows[published]; r.id == id {
			return &found{documentID: documentID, row: r.copy()}
		}
	}
	return nil
}

func (r *row) set(name, text string) { r.values[name] = encodeString(text) }

// describe writes what follows from the file itself. size is in kilobytes of
// 1,000 bytes, with two digits: 4 bytes are 0.
func (r *row) describe(bytes int64, kind string) {
	r.set("mime", kind)
	size := math.Floor(float64(bytes)/10+0.5) / 100
	r.values["size"] = json.RawMessage(strconv.FormatFloat(size, 'f', -1, 64))
}

// apply writes what the client said; what is null or absent stays as it was.
func (i fileInfo) apply(r *row) {
	for name, text := range map[string]*string{"name": i.name, "alternativeText": i.alternativeText, "caption": i.caption} {
		if text != nil {
			r.set(name, *text)
		}
	}
	if i.focalPoint != nil {
		r.values["focalPoint"] = i.focalPoint
	}
}

// extensionTypes are those that need no table of the machine, which differ.
var extensionTypes = map[string]string{
	".txt": "text/plain", ".csv": "text/csv", ".json": "application/json", ".pdf": "application/pdf",
	".png": "image/png", ".jpg": "image/jpeg",
}

// ext is the name's extension, else that of the type that was declared.
func (u upload) ext() string {
	if ext := path.Ext(u.name); ext != "" {
		return ext
	}
	for ext, kind := range extensionTypes {
		if kind == u.mime {
			return ext
		}
	}
	return ".bin"
}

// kind is the type that the extension says; what the client declared is only
// asked where it says none. A real Strapi looks at the content, too.
func (u upload) kind() string {
	if kind, known := extensionTypes[strings.ToLower(path.Ext(u.name))]; known {
		return kind
	}
	if kind, _, err := mime.ParseMediaType(u.mime); err == nil {
		return kind
	}
	return "application/octet-stream"
}

// badName is what Strapi refuses in the name of a file.
var badName = regexp.MustCompile(`[<>:"/\\|?*\x00-\x1f]|^(?i:con|prn|aux|nul|com\d|lpt\d)$|^\.{0,2}$`)

func (u upload) check() *Error {
	if len(u.name) > 255 || badName.MatchString(u.name) {
		return &Error{Status: http.StatusBadRequest, Name: "ApplicationError", Message: "File name contains invalid characters"}
	}
	return nil
}

var notSlug = regexp.MustCompile(`[^A-Za-z0-9]+`)

// slug is the readable part of a file's hash. Strapi also writes letters that
// are not English in English ones.
func slug(name string) string {
	return strings.Trim(notSlug.ReplaceAllString(name, "_"), "_")
}

// unsigned is a file as REST answers it: what the webhooks have, and whether
// its URL is signed, which it never is with files on Strapi's own disk.
func unsigned(file []byte) []byte {
	return append(bytes.TrimSuffix(bytes.Clone(file), []byte("}")), `,"isUrlSigned":false}`...)
}
