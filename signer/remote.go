package signer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// device is where a key is that never comes to this process. Its errors are
// [*KeyError] without Source, or that of the context.
type device interface {
	// public asks for the public key.
	public(ctx context.Context) (*rsa.PublicKey, error)
	// sign has message signed by the private key that belongs to public.
	sign(ctx context.Context, public *rsa.PublicKey, message []byte) ([]byte, error)
}

// remote is a key of a device.
type remote struct {
	uri     string // for messages
	device  device
	timeout time.Duration
	memory  Memory // may be nil
	name    string // in it

	known atomic.Pointer[known]
}

// known is the public key of a device, and when the device last proved to have it.
type known struct {
	public *rsa.PublicKey
	proved time.Time
}

// provedEvery is how often the memory is told that a key is still there. It keeps
// entries for a day, and the tokens that a key has signed for live an hour.
const provedEvery = time.Hour

func (o Options) openRemote(ctx context.Context, uri string, d device) (Signer, error) {
	// Who reads the names of files must not be able to try PINs on them.
	name := sha256.Sum256([]byte("public key\x00" + keyuri.Redacted(uri)))
	r := &remote{uri: keyuri.Shown(uri), device: d, timeout: o.timeout(), memory: o.Memory,
		name: hex.EncodeToString(name[:])}
	if held := r.recall(ctx); held != nil {
		r.known.Store(held)
		return r, nil
	}
	public, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	r.remember(ctx, public)
	return r, nil
}

// Sign returns no signature that does not belong to the public key.
func (r *remote) Sign(ctx context.Context, message []byte) ([]byte, error) {
	public := r.known.Load().public
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	signature, err := r.device.sign(bounded, public, message)
	if err == nil {
		// RFC 8017 section 8.2.2 wants the length of the modulus; some leave zeros out.
		if short := public.Size() - len(signature); short > 0 && len(signature) > 0 {
			signature = append(make([]byte, short), signature...)
		}
		digest := sha256.Sum256(message)
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil {
			r.remember(ctx, public)
			return signature, nil
		}
		err = &KeyError{Problem: errWrongSignature}
	}
	err = r.explain(ctx, bounded, err)
	if !errors.Is(err, errWrongSignature) && !errors.Is(err, ErrNoKey) {
		return nil, err
	}
	// It may be another key by now. After any other error nobody is asked once more: a
	// wrong PIN counts each time.
	if now, asked := r.ask(ctx); asked == nil && !now.Equal(public) {
		r.remember(ctx, now)
		return nil, &KeyError{Problem: ErrChanged, Source: r.uri}
	}
	return nil, err
}

// ask asks the device for its public key.
func (r *remote) ask(ctx context.Context) (*rsa.PublicKey, error) {
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	public, err := r.device.public(bounded)
	if err == nil {
		switch bits := public.N.BitLen(); {
		case bits < minBits:
			err = &KeyError{Problem: errTooShort, Err: fmt.Errorf("%d bits", bits)}
		case bits > maxBits:
			err = &KeyError{Problem: errTooLong, Err: fmt.Errorf("%d bits", bits)}
		}
	}
	if err != nil {
		return nil, r.explain(ctx, bounded, err)
	}
	return public, nil
}

// explain tells whose time has run out: ours, or that of the caller, who knows when
// it has given up.
func (r *remote) explain(ctx, bounded context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("sign with the key in %s: %w", r.uri, context.Cause(ctx))
	case bounded.Err() != nil:
		e := &KeyError{Problem: ErrTimeout, Source: r.uri, Err: waited(r.timeout)}
		if ctx.Err() != nil {
			e.Err = waited(0)
		}
		return e
	}
	if e, ok := errors.AsType[*KeyError](err); ok {
		e.Source = r.uri
		return e
	}
	return &KeyError{Problem: ErrUnavailable, Source: r.uri, Err: err}
}

// waited is a [context.DeadlineExceeded] that says how long that was; 0: as long as
// the caller had time.
type waited time.Duration

func (w waited) Error() string {
	if w == 0 {
		return "whoever asked has no more time"
	}
	return "waited for " + time.Duration(w).String()
}

func (w waited) Is(target error) bool { return target == context.DeadlineExceeded }

// Public returns the public key.
func (r *remote) Public() crypto.PublicKey { return r.known.Load().public }

// Fingerprint returns what GitHub shows for the key.
func (r *remote) Fingerprint() string { return Fingerprint(r.known.Load().public) }

// String implements [fmt.Stringer] with the fingerprint, as that of [Key] does.
func (r *remote) String() string { return r.Fingerprint() }

// Format implements [fmt.Formatter], so that every verb prints the fingerprint.
func (r *remote) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.Fingerprint()) }

// LogValue implements [slog.LogValuer] with the fingerprint.
func (r *remote) LogValue() slog.Value { return slog.StringValue(r.Fingerprint()) }

// memo is an entry of the memory.
type memo struct {
	Public []byte    `json:"public_key"` // SubjectPublicKeyInfo
	Proved time.Time `json:"proved_at"`
}

func (r *remote) recall(ctx context.Context) *known {
	if r.memory == nil {
		return nil
	}
	text, err := r.memory.Get(ctx, r.name)
	var m memo
	if err != nil || len(text) == 0 || json.Unmarshal(text, &m) != nil {
		return nil
	}
	public, err := publicKey(m.Public)
	if err != nil {
		return nil
	}
	return &known{public, m.Proved}
}

// remember takes note of a key that the device has just proved to have. A memory that
// fails costs the next process a question.
func (r *remote) remember(ctx context.Context, public *rsa.PublicKey) {
	held, now := r.known.Load(), time.Now()
	if held != nil && held.public.Equal(public) && now.Sub(held.proved).Abs() < provedEvery {
		return
	}
	if held != nil && held.public.Equal(public) {
		public = held.public // it is known by its address too
	}
	r.known.Store(&known{public, now})
	if r.memory == nil {
		return
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return
	}
	if text, err := json.Marshal(memo{der, now}); err == nil {
		_ = r.memory.Put(ctx, r.name, text)
	}
}

// publicKey reads an RSA public key from a SubjectPublicKeyInfo. The error is a
// [*KeyError].
func publicKey(der []byte) (*rsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, &KeyError{Problem: errProtocol,
			Err: errors.New("the public key is not the DER of a SubjectPublicKeyInfo")}
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key, nil
	case *ecdsa.PublicKey:
		return nil, &KeyError{Problem: errEC}
	case ed25519.PublicKey:
		return nil, &KeyError{Problem: errEd25519}
	}
	return nil, &KeyError{Problem: errAlgorithm}
}
