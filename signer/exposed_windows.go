package signer

import "io/fs"

func belonging(fs.FileInfo) belongings { return belongings{} }
