package realstrapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

// session does the scenarios to a Strapi and notes what can be observed from
// outside: the answers of its REST API and the webhooks.
type session struct {
	backend
	t        *testing.T
	recorder *recorder

	ids     map[string]string       // documentIds by the name that the scenarios give them
	queries map[string]strapi.Query // what Dealbox requests, by uid
	aliases aliases
	seen    []observation
}

// observation is what one step showed.
type observation struct {
	step     string
	answers  []string
	webhooks []string // as order_test.go has it: sorted, or in turn
	inTurn   bool
}

func newSession(t *testing.T, b backend, r *recorder) *session {
	t.Helper()
	return &session{backend: b, t: t, recorder: r, ids: map[string]string{}, queries: map[string]strapi.Query{}, aliases: aliases{}}
}

// step is one thing that is done to a Strapi.
type step struct {
	name string
	only variant
	// inTurn: the order of its webhooks is fixed, see order_test.go.
	inTurn bool
	do     func(*session)
}

type variant int

const (
	both variant = iota
	withDrafts
	withoutDrafts
)

func (s step) runs(drafts bool) bool {
	return s.only == both || (s.only == withDrafts) == drafts
}

// run does one step and waits for as many webhooks as are expected of it. When
// nothing is known (want nil) it waits until no more come.
func (s *session) run(st step, want *observation) observation {
	s.t.Helper()
	from := s.recorder.count()
	s.seen = append(s.seen, observation{step: st.name, inTurn: st.inTurn})
	st.do(s)
	expected := 0
	if want == nil {
		s.waitQuiet()
	} else {
		expected = len(want.webhooks)
	}
	deliveries := s.recorder.answered(s.t, from, expected)
	o := &s.seen[len(s.seen)-1]
	o.webhooks = s.arrange(deliveries, st.inTurn)
	return *o
}

// quiet is how long no webhook comes until it is believed that none will; only
// what records uses it.
const quiet = 700 * time.Millisecond

func (s *session) waitQuiet() {
	s.t.Helper()
	count, since := s.recorder.count(), time.Now()
	require.Eventually(s.t, func() bool {
		if n := s.recorder.count(); n != count {
			count, since = n, time.Now()
		}
		return time.Since(since) >= quiet
	}, time.Minute, 20*time.Millisecond)
}

// rest asks the REST API with full access and notes the answer. $name in path
// and body is the documentId of that name; a body of a write is what stands in data.
func (s *session) rest(method, path, data string) string {
	s.t.Helper()
	if data != "" {
		data = `{"data":` + data + `}`
	}
	return s.ask("full", method, path, data)
}

func (s *session) ask(token, method, path, body string) string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url()+s.expand(path, ""), strings.NewReader(s.expand(body, `"`)))
	require.NoError(s.t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	return s.send(request, token, method+" "+path+" "+body)
}

// send sends a request and notes its text and the answer.
func (s *session) send(request *http.Request, token, text string) string {
	s.t.Helper()
	if v := s.token(token); v != "" {
		request.Header.Set("Authorization", "Bearer "+v)
	}
	_, answer, err := s.note(request, text)
	require.NoError(s.t, err)
	return string(answer)
}

// note is send for a request that has its token.
func (s *session) note(request *http.Request, text string) (*http.Response, []byte, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	o := &s.seen[len(s.seen)-1]
	o.answers = append(o.answers, fmt.Sprintf("%s -> %d %s", text, response.StatusCode, s.aliases.normalize(string(answer))))
	return response, answer, err
}

// post makes a document and gives it a name.
func (s *session) post(name, plural, query, data string) {
	s.t.Helper()
	answer := s.rest(http.MethodPost, "/api/"+plural+query, data)
	var document struct{ Data struct{ DocumentID string } }
	require.NoError(s.t, json.Unmarshal([]byte(answer), &document))
	require.NotEmpty(s.t, document.Data.DocumentID, answer)
	s.ids[name] = document.Data.DocumentID
}

func (s *session) put(name, plural, query, data string) {
	s.t.Helper()
	s.rest(http.MethodPut, "/api/"+plural+"/$"+name+query, data)
}

// named is $name, for brackets and the like that os.Expand takes for itself.
var named = regexp.MustCompile(`\$[a-z][a-z0-9]*`)

func (s *session) expand(text, quote string) string {
	return named.ReplaceAllStringFunc(text, func(name string) string {
		if id, ok := s.ids[name[1:]]; ok {
			return quote + id + quote
		}
		return name // such as [$gte]
	})
}

// aliases are short names for documentIds, and for what is random in the names of
// files, in the order in which they appear.
type aliases map[string]string

var (
	documentID = regexp.MustCompile(`"documentId":"([a-z0-9]{24})"`)
	fileHash   = regexp.MustCompile(`"hash":"[^"]*_([0-9a-f]{10})"`)
	moment     = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
)

// normalize takes out what differs between two Strapis that get the same requests:
// documentIds, hashes of files, moments, and the order of keys, which varies in a real one.
func (a aliases) normalize(body string) string {
	a.name("doc", documentID, body)
	a.name("hash", fileHash, body)
	for id, alias := range a {
		body = strings.ReplaceAll(body, id, alias)
	}
	return sortKeys(moment.ReplaceAllString(body, `"moment"`))
}

func (a aliases) name(kind string, pattern *regexp.Regexp, body string) {
	for _, m := range pattern.FindAllStringSubmatch(body, -1) {
		if _, known := a[m[1]]; !known {
			a[m[1]] = fmt.Sprint(kind, len(a)+1)
		}
	}
}

// sortKeys writes JSON with its keys sorted; what is no JSON stays as it is.
func sortKeys(body string) string {
	var v any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&v) != nil {
		return body
	}
	sortLocalizations(v)
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return body
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// sortLocalizations orders the rows of the other locales, which come in any order.
func sortLocalizations(v any) {
	body, _ := v.(map[string]any)
	entry, _ := body["entry"].(map[string]any)
	rows, _ := entry["localizations"].([]any)
	slices.SortFunc(rows, func(a, b any) int {
		return strings.Compare(fmt.Sprintf("%6v", a.(map[string]any)["id"]), fmt.Sprintf("%6v", b.(map[string]any)["id"]))
	})
}
