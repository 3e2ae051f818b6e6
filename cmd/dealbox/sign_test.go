package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/webhooksig"

	"github.com/stretchr/testify/require"
)

// Not ASCII, and with a line end: signed and sent byte for byte.
const signBody = `{"event":"entry.update","uid":"api::pipeline-deal.pipeline-deal","entry":{"name":"Größe"}}` + "\n"

// mustBodyFile has a name that a shell would trip over.
func mustBodyFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "it's body.json")
	require.NoError(t, os.WriteFile(name, []byte(signBody), 0o600))
	return name
}

func mustVerifier(t *testing.T, scheme webhooksig.Scheme) *webhooksig.Verifier {
	t.Helper()
	v, err := webhooksig.NewVerifier(webhooksig.Config{Schemes: []webhooksig.Scheme{scheme}, Secrets: []string{goodSecret}, Tolerance: time.Minute})
	require.NoError(t, err)
	return v
}

// signed runs `dealbox sign` with arguments that may hold spaces.
func signed(t *testing.T, e environ, stdin string, args ...string) output {
	t.Helper()
	var stdout, stderr strings.Builder
	code := run(t.Context(), append([]string{"sign"}, args...), e.getenv, strings.NewReader(stdin), &stdout, &stderr)
	return output{code, stdout.String(), stderr.String()}
}

// printedHeaders reads the lines before the curl command.
func printedHeaders(t *testing.T, stdout string) http.Header {
	t.Helper()
	lines, _, found := strings.Cut(stdout, "\n\ncurl ")
	require.True(t, found, stdout)
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		name, value, found := strings.Cut(line, ": ")
		require.True(t, found, line)
		h.Add(name, value)
	}
	return h
}

func TestSign_HeadersPassVerification(t *testing.T) {
	t.Parallel()
	e := environ{"STRAPI_WEBHOOK_SECRET": goodSecret + "," + otherSecret} // the first one signs
	for _, scheme := range []webhooksig.Scheme{webhooksig.SchemeStandard, webhooksig.SchemeTimestamped, webhooksig.SchemeStrapi} {
		out := signed(t, e, "", "--file", mustBodyFile(t), "--scheme", string(scheme))
		require.Equal(t, exitDone, out.code, out.stderr)
		require.NotContains(t, out.stdout, goodSecret)
		verified, err := mustVerifier(t, scheme).Verify(printedHeaders(t, out.stdout), []byte(signBody))
		require.NoError(t, err)
		require.Equal(t, scheme, verified.Scheme)

		fromStdin := signed(t, e, signBody, "--file", "-", "--scheme", string(scheme))
		_, err = mustVerifier(t, scheme).Verify(printedHeaders(t, fromStdin.stdout), []byte(signBody))
		require.NoError(t, err)
		require.Contains(t, fromStdin.stdout, "--data-binary '@-'")
	}
	_, err := mustVerifier(t, webhooksig.SchemeStandard).Verify(printedHeaders(t, signed(t, e, "", "--file", mustBodyFile(t)).stdout), []byte(signBody))
	require.NoError(t, err, "standard is the default")
}

// receiver is a Dealbox that verifies and answers.
type receiver struct {
	*httptest.Server
	requests chan *http.Request
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, authentic bool)) receiver {
	t.Helper()
	verifier := mustVerifier(t, webhooksig.SchemeStandard)
	r := receiver{requests: make(chan *http.Request, 10)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		_, err := verifier.Verify(request.Header, body)
		r.requests <- request
		answer(w, err == nil && string(body) == signBody)
	}))
	t.Cleanup(r.Close)
	return r
}

func accept(w http.ResponseWriter, authentic bool) {
	if !authentic {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"accepted"}`)
}

// What is printed works when it is pasted into a shell.
func TestSign_PrintedCurlIsAccepted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	r := newReceiver(t, accept)
	e := environ{"STRAPI_WEBHOOK_SECRET": goodSecret, "PUBLIC_URL": r.URL + "/base/"}
	out := signed(t, e, "", "--file", mustBodyFile(t))
	require.Equal(t, exitDone, out.code, out.stderr)
	_, command, _ := strings.Cut(out.stdout, "\n\n")
	answer, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	require.NoError(t, err)
	require.JSONEq(t, `{"status":"accepted"}`, string(answer))
	require.Equal(t, "/base/api/v1/webhooks/strapi", (<-r.requests).URL.Path)
}

func TestSign_CurlTarget(t *testing.T) {
	t.Parallel()
	e := environ{"STRAPI_WEBHOOK_SECRET": goodSecret, "LISTEN_ADDR": "0.0.0.0", "PORT": "9000"}
	require.Contains(t, signed(t, e, "x", "--file=-").stdout, "curl -sS 'http://127.0.0.1:9000/api/v1/webhooks/strapi'")
}

func TestSign_Send(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, accept)
	e := environ{"STRAPI_WEBHOOK_SECRET": goodSecret, "PORT": "not read when it is sent"}
	out := signed(t, e, "", "--file", mustBodyFile(t), "--send", r.URL)
	require.Equal(t, exitDone, out.code, out.stderr)
	require.Equal(t, "202 Accepted\n{\"status\":\"accepted\"}\n", out.stdout)
	request := <-r.requests
	require.Equal(t, app.WebhookPath, request.URL.Path)
	require.Equal(t, "application/json", request.Header.Get("Content-Type"))

	out = signed(t, e, "", "--file", mustBodyFile(t), "--send", r.URL+"/behind/proxy")
	require.Equal(t, exitDone, out.code)
	require.Equal(t, "/behind/proxy", (<-r.requests).URL.Path, "a path is taken as it is")
}

func TestSign_SendFails(t *testing.T) {
	t.Parallel()
	refused := newReceiver(t, accept)
	out := signed(t, environ{"STRAPI_WEBHOOK_SECRET": otherSecret}, "", "--file", mustBodyFile(t), "--send", refused.URL)
	require.Equal(t, exitFailed, out.code)
	require.Equal(t, "401 Unauthorized\n", out.stdout)
	require.Contains(t, out.stderr, "the delivery was not accepted: 401")
	require.NotContains(t, out.stderr, otherSecret)

	e := environ{"STRAPI_WEBHOOK_SECRET": goodSecret}
	redirecting := newReceiver(t, func(w http.ResponseWriter, _ bool) {
		w.Header().Set("Location", refused.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	out = signed(t, e, "", "--file", mustBodyFile(t), "--send", redirecting.URL)
	require.Equal(t, exitFailed, out.code)
	require.Len(t, refused.requests, 1, "a redirect is not followed")

	hostile := newReceiver(t, func(w http.ResponseWriter, _ bool) {
		_, _ = io.WriteString(w, "a\x1b[2Jb\rc"+strings.Repeat("x", 128<<10))
	})
	out = signed(t, e, "", "--file", mustBodyFile(t), "--send", hostile.URL)
	require.Equal(t, exitDone, out.code)
	require.True(t, strings.HasPrefix(out.stdout, "200 OK\na[2Jbcxxx"), "nothing steers the terminal")
	require.LessOrEqual(t, len(out.stdout), (64<<10)+100)

	out = signed(t, e, "", "--file", mustBodyFile(t), "--send", "http://127.0.0.1:1")
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "connection refused")

	out = signed(t, e, "", "--file", filepath.Join(t.TempDir(), "none.json"))
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "none.json: no such file")
}

func TestQuoteShell(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "plain", "it's", "$(id)", "a\nb", `\`, "--x"} {
		echoed, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+quoteShell(word)).Output()
		require.NoError(t, err)
		require.Equal(t, word, string(echoed))
	}
}
