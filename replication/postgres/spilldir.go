package postgres

import (
	"os"

	"cdc/replication"
)

// spillDir is the folder of the files of transactions in progress.
func (c *Config) spillDir() string {
	if c.SpillDir != "" {
		return c.SpillDir
	}
	return os.TempDir()
}

// judgeSpill tries to make a file there. Where the folder was not chosen and
// cannot be used, as in a container without one, the server keeps the
// transactions instead.
func (i *inspection) judgeSpill() {
	if i.cfg.NoStreaming {
		return
	}
	dir := i.cfg.spillDir()
	f, err := createSpool(dir)
	if err == nil {
		f.Close()
		i.ok("large transactions", "come while they are in progress; beyond %s they are kept in %s", bytesText(int64(i.cfg.SpillMemory)), dir)
		return
	}
	const remedy = "name a folder that can be written to with spill_dir, or leave large transactions to the server with streaming: false"
	if i.cfg.SpillDir != "" {
		i.add(replication.LevelError, "large transactions", "folder "+dir+" cannot keep transactions in progress: "+err.Error(), remedy)
		return
	}
	i.cfg.NoStreaming = true
	i.add(replication.LevelWarning, "large transactions", "the folder for temporary files cannot keep transactions in progress, so they stay on the server's disk until they commit: "+err.Error(), remedy)
}
