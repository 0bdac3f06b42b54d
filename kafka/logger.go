package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// logger passes on what kgo says one level lower than kgo means it, apart from
// errors and warnings: kgo's informative lines (connections, metadata, leaders)
// are debugging for the people who read our log.
type logger struct {
	*kslog.Logger
	slog *slog.Logger
}

// RetryLevel is the level at which to tell that something is tried again because
// of err: that it reaches no broker the client has told itself.
func RetryLevel(err error) slog.Level {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func newLogger(l *slog.Logger) kgo.Logger { return logger{kslog.New(l), l} }

func (l logger) Level() kgo.LogLevel {
	switch ctx := context.Background(); {
	case l.slog.Enabled(ctx, slog.LevelDebug):
		return kgo.LogLevelInfo
	case l.slog.Enabled(ctx, slog.LevelWarn):
		return kgo.LogLevelWarn
	case l.slog.Enabled(ctx, slog.LevelError):
		return kgo.LogLevelError
	}
	return kgo.LogLevelNone
}

func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level == kgo.LogLevelInfo {
		level = kgo.LogLevelDebug
	}
	l.Logger.Log(level, "kafka: "+msg, keyvals...)
}
