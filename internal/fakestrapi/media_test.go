package fakestrapi

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the media library answers and sends is compared with a real Strapi in
// internal/realstrapi. Here is what that cannot show.

func withMedia(c *Config) {
	c.Webhooks[0].Events = slices.Concat(entryEvents, []string{mediaCreate, mediaUpdate, mediaDelete})
}

// upload posts one file.
func (r *rig) upload(name, kind, content string) answered {
	r.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="files"; filename="` + name + `"`}, "Content-Type": {kind},
	})
	require.NoError(r.t, err)
	_, err = io.WriteString(part, content)
	require.NoError(r.t, err)
	require.NoError(r.t, form.Close())
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+"/api/upload", &b)
	require.NoError(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", form.FormDataContentType())
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer response.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return answered{response.StatusCode, response.Header, string(answer)}
}

func TestMedia_IsToldToWebhooksThatAskForIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"asks":     {withMedia, []string{mediaCreate, mediaDelete}},
		"does not": {nil, []string{}},
	} {
		r := newRig(t, c.change)
		require.Equal(t, http.StatusCreated, r.upload("note.txt", "text/plain", "a file").status, name)
		first := r.drain()
		require.Equal(t, http.StatusOK, r.call(http.MethodDelete, "/api/upload/files/1", "").status, name)
		require.Equal(t, c.want, events(append(first, r.drain()...)), name)
	}
}

func TestMedia_Names(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, c := range []struct{ name, declared, ext, kind, slug string }{
		{"note.txt", "text/plain", ".txt", "text/plain", "note_"},
		{"Two words.CSV", "application/octet-stream", ".CSV", "text/csv", "Two_words_"},
		{"a.b.json", "text/plain; charset=utf-8", ".json", "application/json", "a_b_"},
		{"README", "text/plain", ".txt", "text/plain", "README_"},
		{"README", "x/y", ".bin", "x/y", "README_"},
		{"x.unknown", "x/y", ".unknown", "x/y", "x_"},
		{"x.unknown", "nonsense/", ".unknown", "application/octet-stream", "x_"},
	} {
		a := r.upload(c.name, c.declared, strings.Repeat("x", 2345))
		var files []struct {
			Hash, Ext, Mime, URL string
			Size                 float64
		}
		require.NoError(t, json.Unmarshal([]byte(a.body), &files), a.body)
		require.Equal(t, c.ext, files[0].Ext, c.name)
		require.Equal(t, c.kind, files[0].Mime, c.name)
		require.Regexp(t, "^"+c.slug+"[0-9a-f]{10}$", files[0].Hash, c.name)
		require.Equal(t, "/uploads/"+files[0].Hash+c.ext, files[0].URL, c.name)
		require.InDelta(t, 2.35, files[0].Size, 0, c.name)
	}
	for _, name := range []string{"", ".", "..", "a/b.txt", `a\\b.txt`, "a:b", "con", "LPT1", strings.Repeat("x", 256)} {
		require.Equal(t, http.StatusBadRequest, r.upload(name, "text/plain", "a").status, name)
	}
}

// Files have numbers of their own, and the document service has none of them.
func TestMedia_StandsBesideTheDocuments(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { withMedia(c); c.Dir = t.TempDir() })
	deal := r.mustCreate(DealUID, Values{"name": "a"})
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() { r.upload("note.txt", "text/plain", "a file") })
	}
	running.Wait()
	require.EqualValues(t, 1, deal.ID)
	require.EqualValues(t, 2, r.mustCreate(DealUID, nil).ID)
	require.Len(t, r.List(DealUID, "published"), 2)
	require.Equal(t, 8, strings.Count(r.get("/api/upload/files").body, `"hash"`))
	require.Len(t, r.drain(), 10)
	require.Equal(t, 404, r.get("/api/files").status)
}
