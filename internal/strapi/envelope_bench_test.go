package strapi

import "testing"

// BenchmarkParseEnvelope: the body is on the hot path of every delivery.
func BenchmarkParseEnvelope(b *testing.B) {
	for _, name := range []string{"dp0-02-rest-create-deal", "dp0-06-rest-update-deal", "dp0-15-cm-duplicate"} {
		body := []byte(readCapture(b, name+".json").BodyRaw)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseEnvelope(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
