package circuit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNext(t *testing.T) {
	t.Parallel()
	closed, open, half := forcedState{Closed, false}, forcedState{Open, false}, forcedState{HalfOpen, false}
	heldClosed, heldOpen := forcedState{Closed, true}, forcedState{Open, true}
	names := map[event]string{
		thresholdReached: "threshold reached", probeDue: "probe due", probeSucceeded: "probe succeeded",
		probeFailed: "probe failed", probeGivenBack: "probe given back",
		operatorOpens: "operator opens", operatorCloses: "operator closes", operatorResets: "operator resets",
	}

	// What is not listed changes nothing.
	moves := map[forcedState]map[event]forcedState{
		closed: {
			thresholdReached: open,
			operatorOpens:    heldOpen, operatorCloses: heldClosed, operatorResets: closed,
		},
		open: {
			probeDue:      half,
			operatorOpens: heldOpen, operatorCloses: heldClosed, operatorResets: closed,
		},
		half: {
			probeDue: half, probeSucceeded: closed, probeFailed: open, probeGivenBack: open,
			operatorOpens: heldOpen, operatorCloses: heldClosed, operatorResets: closed,
		},
		heldClosed: {operatorOpens: heldOpen, operatorResets: closed},
		heldOpen:   {operatorCloses: heldClosed, operatorResets: closed},
	}
	for from, table := range moves {
		for e, name := range names {
			t.Run(fmt.Sprintf("%s forced=%t, %s", from.State, from.Forced, name), func(t *testing.T) {
				t.Parallel()
				want, moves := table[e]
				to, ok := next(from, e)
				require.Equal(t, moves, ok)
				if moves {
					require.Equal(t, want, to)
				}
			})
		}
	}
}
