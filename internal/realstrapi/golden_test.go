package realstrapi_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a real Strapi 5.54.0 showed is kept in testdata. The real one must go on
// to show it, and the fake must show the same. A file is lines: "# step", then
// its answers, then its webhooks.
func golden(drafts bool) string {
	if drafts {
		return "testdata/strapi-5.54.0-drafts.txt"
	}
	return "testdata/strapi-5.54.0.txt"
}

const (
	stepLine    = "# "
	answerLine  = "answer  "
	webhookLine = "webhook "
	inTurnLine  = "in turn " // a webhook whose place among those of the step is fixed
)

func localizedGolden(drafts bool) string {
	if drafts {
		return "testdata/strapi-5.54.0-localized-drafts.txt"
	}
	return "testdata/strapi-5.54.0-localized.txt"
}

func readGolden(t *testing.T, file string) map[string]observation {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	all := map[string]observation{}
	var o observation
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if step, found := strings.CutPrefix(line, stepLine); found {
			o = observation{step: step}
		} else if answer, found := strings.CutPrefix(line, answerLine); found {
			o.answers = append(o.answers, answer)
		} else if webhook, found := strings.CutPrefix(line, webhookLine); found {
			o.webhooks = append(o.webhooks, webhook)
		} else if webhook, found := strings.CutPrefix(line, inTurnLine); found {
			o.webhooks, o.inTurn = append(o.webhooks, webhook), true
		}
		all[o.step] = o
	}
	return all
}

func writeGolden(t *testing.T, file string, all []observation) {
	t.Helper()
	var b strings.Builder
	for _, o := range all {
		b.WriteString(stepLine + o.step + "\n")
		for _, answer := range o.answers {
			b.WriteString(answerLine + answer + "\n")
		}
		prefix := webhookLine
		if o.inTurn {
			prefix = inTurnLine
		}
		for _, webhook := range o.webhooks {
			b.WriteString(prefix + webhook + "\n")
		}
	}
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
}
