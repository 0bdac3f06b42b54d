package mapping

import (
	"fmt"
	"sync"

	"cdc/mapping/avro"
)

// describeAvro returns what renders keys of that schema for people: id=7. It
// serves messages only, so the decoder is compiled at the first use.
func describeAvro(schema string) func(key []byte) string {
	decoder := sync.OnceValues(func() (*avro.Decoder, error) {
		s, err := avro.ParseSchema(schema)
		if err != nil {
			return nil, err
		}
		return avro.NewDecoder(s)
	})
	return func(key []byte) string {
		if d, err := decoder(); err == nil {
			if _, body, err := avro.SplitWire(key); err == nil {
				return d.Text(body)
			}
		}
		return fmt.Sprintf("0x%x", key)
	}
}
