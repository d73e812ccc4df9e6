package keyfile

import "io/fs"

func belonging(fs.FileInfo) belongings { return belongings{} }
