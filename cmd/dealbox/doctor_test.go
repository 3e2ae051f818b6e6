package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/doctor"
	"dealbox/internal/fakestrapi"
)

func TestDoctor_NothingSet(t *testing.T) {
	t.Parallel()
	out := dealbox(t, nil, "", "doctor")
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "4 checks fail")
	require.Regexp(t, `(?m)^fail  STRAPI_URL +is not set\n +-> Give the address of Strapi 5`, out.stdout)
	require.Regexp(t, `(?m)^skip  migrations +not checked: it needs the database$`, out.stdout)
	require.Regexp(t, `\d+ ok, \d+ warn, 4 fail, \d+ not checked\n$`, out.stdout)
}

// A warning is no failure.
func TestDoctor_WarningIsNoFailure(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	out := dealbox(t, h.env, "", "doctor --json")
	require.Equal(t, exitDone, out.code, out.stdout)
	require.Empty(t, out.stderr)
	var report doctorReport
	require.NoError(t, json.Unmarshal([]byte(out.stdout), &report))
	require.True(t, report.OK)
	require.Positive(t, doctor.Count(report.Checks, doctor.Warn), "this database has one role")
}
