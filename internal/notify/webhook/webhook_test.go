package webhook_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/notify"
	"dealbox/internal/notify/webhook"
)

func TestNew_RefusesWithoutRepeating(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]webhook.Config{
		"NoURL":       {},
		"OtherScheme": {URL: "ftp://canary@host/canary"},
		"NoHost":      {URL: "https:///canary"},
		"Unreadable":  {URL: "https://host/%zz?canary"},
		"BadPort":     {URL: "https://canary:port/"},
		"Format":      {URL: "https://host/canary", Format: "discord"},
		"Secret":      {URL: "https://host/canary", Secret: "whsec_canary!"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhook.New(c)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestNotify_WhatIsWorthAnotherAttempt(t *testing.T) {
	t.Parallel()
	target := answering(t, status(http.StatusNoContent))
	for code, again := range map[int]bool{
		408: true, 429: true, 500: true, 502: true, 503: true, 504: true, 599: true,
		301: false, 302: false, 304: false, 307: false, 308: false,
		400: false, 401: false, 403: false, 404: false, 410: false, 413: false, 422: false,
	} {
		w, err := webhook.New(webhook.Config{URL: answering(t, redirect(code, target.url)).url})
		require.NoError(t, err)
		got, err := w.Notify(t.Context(), notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
		require.Error(t, err, code)
		require.Equal(t, again, got, code)
	}
	for _, code := range []int{200, 201, 202, 204} {
		w, err := webhook.New(webhook.Config{URL: answering(t, status(code)).url})
		require.NoError(t, err)
		_, err = w.Notify(t.Context(), notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
		require.NoError(t, err, code)
	}
	require.Zero(t, target.requests.Load(), "a redirect is never followed")
}

// Every part of a webhook's URL but scheme and host may be a secret, whatever
// the receiver answers with.
func TestNotify_ErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	echo := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.String())
			w.WriteHeader(code)
			fmt.Fprintf(w, "cannot POST %s %v", r.URL, r.Header)
		}
	}
	httpServer := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	word := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, strings.Split(r.URL.Path, "/")[2])
	}
	tlsServer := httptest.NewTLSServer(http.HandlerFunc(echo(200)))
	tlsServer.Config.ErrorLog = nil
	t.Cleanup(tlsServer.Close)
	for name, base := range map[string]string{
		"NotFound":      httpServer(echo(404)),
		"ServerError":   httpServer(echo(500)),
		"Redirect":      httpServer(echo(302)),
		"WordOfPath":    httpServer(word),
		"Refused":       "http://127.0.0.1:1",
		"NoSuchHost":    "http://no-such-host.invalid",
		"EchoesRequest": "http://" + echoServer(t),
		"HangsUp":       "http://" + hangsUp(t),
		"UnknownCA":     tlsServer.URL,
		"NotTLS":        strings.Replace(httpServer(echo(200)), "http://", "https://", 1),
		"TLSWithoutS":   strings.Replace(tlsServer.URL, "https://", "http://", 1),
		"Silent":        "http://" + silent(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(base + "/services/canary_path/x%2Fcanary%20two?token=canary_query")
			require.NoError(t, err)
			u.User = url.UserPassword("canary_user", "canary_password")
			w, err := webhook.New(webhook.Config{URL: u.String(), Secret: "canary_secret_of_24_bytes", Timeout: time.Second})
			require.NoError(t, err)
			_, err = w.Notify(t.Context(), notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
			require.Error(t, err)
			require.NotContains(t, fmt.Sprintf("%v %+v", err, err), "canary")
			require.Contains(t, err.Error(), u.Host)
			t.Log(err)
		})
	}
}

func TestNotify_SlackSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := answering(t, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, "channel_is_archived\n")
	})
	w, err := webhook.New(webhook.Config{URL: s.url})
	require.NoError(t, err)
	again, err := w.Notify(t.Context(), notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
	require.EqualError(t, err, s.url+" answered 410 Gone (channel_is_archived)")
	require.False(t, again)
}

// The error of a caller that gives up does not say that the receiver was slow.
func TestNotify_CallerGivesUp(t *testing.T) {
	t.Parallel()
	w, err := webhook.New(webhook.Config{URL: "http://" + silent(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Notify(ctx, notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
	require.ErrorIs(t, err, context.Canceled)
}

// An endless answer is read to its bound, and then the connection is closed.
func TestNotify_EndlessAnswer(t *testing.T) {
	t.Parallel()
	const endless = 1 << 30
	left := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for n := 0; n < endless && err == nil; n += 1 << 16 {
			_, err = w.Write(make([]byte, 1<<16))
		}
		left <- err != nil
	}))
	defer server.Close()
	w, err := webhook.New(webhook.Config{URL: server.URL, Timeout: 5 * time.Minute})
	require.NoError(t, err)
	_, err = w.Notify(t.Context(), notify.Message{ID: 1, Alert: notify.Alert{Details: []byte("{}")}})
	require.NoError(t, err)
	require.True(t, <-left, "the client closed the connection")
}

// serve handles each connection until the test ends.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l.Addr().String()
}

// echoServer answers with the request's first line, which is no HTTP answer.
func echoServer(t *testing.T) string {
	return serve(t, func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, line)
		_ = c.Close()
	})
}

func hangsUp(t *testing.T) string {
	return serve(t, func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_ = c.Close()
	})
}

func silent(t *testing.T) string {
	return serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// receiver answers each request in the same way.
type receiver struct {
	url      string
	requests atomic.Int32
}

func answering(t *testing.T, answer func(http.ResponseWriter)) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.requests.Add(1)
		answer(w)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func redirect(code int, location string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}
