package main

import (
	"cdc/config"
)

type configCmd struct {
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration file."`
}

type configSchemaCmd struct{}

func (configSchemaCmd) Help() string {
	return "Editors complete and check a file that names the schema in its first line.\n\n" +
		"Example:\n\n  cdc config schema > cdc.schema.json\n  # yaml-language-server: $schema=cdc.schema.json"
}

func (configSchemaCmd) Run(a *app) error {
	_, err := a.stdout.Write(append(config.JSONSchema(), '\n'))
	return err
}
