package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/secret"
)

// sealKeys seal values and hide names, so that who reads the engine learns neither a token nor
// what it is for, and who writes it can hand out nothing. The first is used, the others open.
type sealKeys []sealKey

type sealKey struct {
	aead   cipher.AEAD
	naming []byte
}

// minSealKey is the fewest bytes of a key.
const minSealKey = 32

func newSealKeys(texts []secret.Text) (sealKeys, error) {
	var keys sealKeys
	for _, text := range texts {
		if len(text.Reveal()) < minSealKey {
			return nil, &fault.SettingError{
				Err:  errors.New("a key to seal with is shorter than 32 bytes"),
				Hint: "make one: openssl rand -base64 32",
			}
		}
		sealing, err := hkdf.Key(sha256.New, []byte(text.Reveal()), nil, "ghapp-server seal", 32)
		if err != nil {
			return nil, err
		}
		naming, err := hkdf.Key(sha256.New, []byte(text.Reveal()), nil, "ghapp-server name", 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(sealing)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, sealKey{aead, naming})
	}
	return keys, nil
}

// name is what an entry is called that is for these parts, each with its length before it so
// that no two lists of parts are one.
func (k *sealKey) name(parts ...string) string {
	mac := hmac.New(sha256.New, k.naming)
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// seal closes a value that is good until a time, and in the entry of this name alone: the name, which
// is made of what the value is for, is the associated data.
func (k *sealKey) seal(name string, value []byte, until time.Time) []byte {
	plain := binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli())) //nolint:gosec // after 1970
	return k.aead.Seal(nil, nil, append(plain, value...), []byte(name))
}

// open opens a value. It is not ok where the value was altered, was sealed for another entry or
// with another key, or has ended.
func (k *sealKey) open(name string, sealed []byte) (value []byte, ok bool) {
	plain, err := k.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil || len(plain) < 8 {
		return nil, false
	}
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(plain))) //nolint:gosec // as it was sealed
	return plain[8:], time.Now().Before(until)
}
