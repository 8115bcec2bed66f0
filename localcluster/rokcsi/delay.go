package main

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// delayParameter, of a class of volumes, snapshots or groups of them, makes each take that long: for
// tests that look at work in progress. A Go duration, such as 3s.
const delayParameter = "delay"

func delayIn(parameters map[string]string) (time.Duration, error) {
	text, asked := parameters[delayParameter]
	if !asked {
		return 0, nil
	}
	delay, err := time.ParseDuration(text)
	if err != nil || delay < 0 {
		return 0, status.Errorf(codes.InvalidArgument,
			"parameter %s: %q is no duration such as 3s", delayParameter, text)
	}
	return delay, nil
}

// slowly holds back the news of what was made; what is in it is of the moment when it was made. A
// later call for the same thing waits for what is left of the delay.
func slowly(ctx context.Context, made record, delay time.Duration) error {
	if err := pause(ctx, time.Until(made.Created.Add(delay))); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

// pause ends early when ctx does, with its error.
func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}
