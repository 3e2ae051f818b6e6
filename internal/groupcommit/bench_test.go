package groupcommit

import (
	"context"
	"testing"
	"time"
)

func nothing(_ context.Context, _ int, items []int) []Result[int] {
	return make([]Result[int], len(items))
}

// BenchmarkGroup_Submit is what the group itself costs: commit does nothing.
func BenchmarkGroup_Submit(b *testing.B) {
	for _, c := range []struct {
		name    string
		callers int // times GOMAXPROCS; 0: one caller alone
	}{{"OneCaller", 0}, {"64Callers", 32}, {"1024Callers", 512}} {
		b.Run(c.name, func(b *testing.B) {
			g := New(Config[int]{MaxBytes: 8 << 20, Size: func(int) int { return 2000 }, Timeout: time.Minute}, nothing)
			b.ReportAllocs()
			b.ResetTimer()
			run(b, c.callers, func() {
				if _, err := g.Submit(context.Background(), 1); err != nil {
					b.Error(err)
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
			if err := g.Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}

func run(b *testing.B, callers int, once func()) {
	if callers == 0 {
		for b.Loop() {
			once()
		}
		return
	}
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			once()
		}
	})
}
