//go:build yubikey && (cgo || windows)

package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/ghapp-dev/ghapp/secret"
)

// yubiKey is a private key in a slot of a YubiKey's PIV application, or the slot for one.
type yubiKey struct {
	slot   piv.Slot
	serial string // "" for the only one that is plugged in
	pin    secret.Text
	with   bool // a PIN is given

	// For import.
	management secret.Text // hexadecimal; the zero value is that of a new YubiKey
	pinPolicy  piv.PINPolicy
	touch      piv.TouchPolicy
}

var (
	pinPolicies = map[string]piv.PINPolicy{"": piv.PINPolicyOnce, "never": piv.PINPolicyNever, "once": piv.PINPolicyOnce,
		"always": piv.PINPolicyAlways}
	touchPolicies = map[string]piv.TouchPolicy{"": piv.TouchPolicyNever, "never": piv.TouchPolicyNever,
		"always": piv.TouchPolicyAlways, "cached": piv.TouchPolicyCached}
)

func openYubiKey(_ context.Context, uri string) (key, error) {
	attributes, err := attributesOf(uri, "slot-id", "serial", "pin-source", "pin-value", "management-key",
		"management-key-source", "pin-policy", "touch-policy")
	if err != nil {
		return nil, failure("invalid-uri", "%v", err)
	}
	k := &yubiKey{serial: attributes["serial"], management: secret.New(attributes["management-key"])}
	var known bool
	if k.slot, known = pivSlot(attributes["slot-id"]); !known {
		return nil, failure("invalid-uri", "slot-id is to be 9a, 9c, 9d, 9e, or one from 82 to 95")
	}
	if _, err := strconv.ParseUint(k.serial, 10, 32); err != nil && k.serial != "" {
		return nil, failure("invalid-uri", "serial is to be the decimal number that stands on the YubiKey")
	}
	if k.pinPolicy, known = pinPolicies[attributes["pin-policy"]]; !known {
		return nil, failure("invalid-uri", "pin-policy is to be never, once or always")
	}
	if k.touch, known = touchPolicies[attributes["touch-policy"]]; !known {
		return nil, failure("invalid-uri", "touch-policy is to be never, always or cached")
	}
	if source, given := attributes["management-key-source"]; given {
		if k.management, _, err = readPIN(map[string]string{"pin-source": source}); err != nil {
			return nil, err
		}
	}
	k.pin, k.with, err = readPIN(attributes)
	if err == nil && k.with && len(k.pin.Reveal()) > 8 {
		return nil, failure("pin", "the PIN is longer than the 8 characters that a YubiKey takes; it was not tried")
	}
	return k, err
}

// pivSlot finds a slot by its number, in hexadecimal as everybody writes it.
func pivSlot(id string) (piv.Slot, bool) {
	number, err := strconv.ParseUint(id, 16, 8)
	if err != nil {
		return piv.Slot{}, false
	}
	for _, slot := range []piv.Slot{piv.SlotAuthentication, piv.SlotSignature,
		piv.SlotKeyManagement, piv.SlotCardAuthentication} {
		if uint64(slot.Key) == number {
			return slot, true
		}
	}
	return piv.RetiredKeyManagementSlot(uint32(number))
}

func (k *yubiKey) close() {}

func (k *yubiKey) public(ctx context.Context) (crypto.PublicKey, error) {
	return within(ctx, func() (crypto.PublicKey, error) {
		card, err := k.open()
		if err != nil {
			return nil, err
		}
		defer card.Close()
		info, err := k.info(card)
		return info.PublicKey, err
	})
}

func (k *yubiKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	return within(ctx, func() ([]byte, error) {
		card, err := k.open()
		if err != nil {
			return nil, err
		}
		defer card.Close()
		return k.signWith(card, digest)
	})
}

func (k *yubiKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	_, err := within(ctx, func() (struct{}, error) {
		card, err := k.open()
		if err != nil {
			return struct{}{}, err
		}
		defer card.Close()
		return struct{}{}, k.importTo(card, private)
	})
	return err
}

// open finds the YubiKey that is meant. Only its serial number is asked of others.
func (k *yubiKey) open() (*piv.YubiKey, error) {
	readers, err := piv.Cards()
	if err != nil {
		return nil, failure("unavailable", "smart cards cannot be reached: %v; is pcscd running?", err)
	}
	var found *piv.YubiKey
	var serials []string
	var busy error
	for _, reader := range readers {
		if !strings.Contains(strings.ToLower(reader), "yubi") {
			continue
		}
		card, err := piv.Open(reader)
		if err != nil {
			busy = err
			continue
		}
		number, err := card.Serial()
		if err != nil {
			busy = err
			card.Close()
			continue
		}
		serial := strconv.FormatUint(uint64(number), 10)
		serials = append(serials, serial)
		if k.serial != "" && k.serial != serial {
			card.Close()
			continue
		}
		if found != nil {
			found.Close()
			card.Close()
			return nil, failure("not-found", "there is more than one YubiKey; name one: %s", list("serial=", serials))
		}
		found = card
	}
	switch {
	case found != nil:
		return found, nil
	case busy != nil:
		return nil,
			failure("unavailable", "the YubiKey cannot be used: %v; another program, such as gpg's scdaemon, may hold it", busy)
	case len(serials) > 0:
		return nil, failure("not-found", "the YubiKey %s is not plugged in; there is %s", k.serial, list("serial=", serials))
	}
	return nil, failure("not-found", "no YubiKey is plugged in")
}

// tellsItsKeys reports whether a YubiKey tells what is in a slot, which began with 5.3
// (https://developers.yubico.com/PIV/Introduction/Yubico_extensions.html, GET METADATA).
func tellsItsKeys(card *piv.YubiKey) bool {
	v := card.Version()
	return v.Major > 5 || v.Major == 5 && v.Minor >= 3
}

// info tells what is in the slot. What an older YubiKey does not tell is zero; its public
// key is in the certificate of the slot, or in the attestation of a key that was made there.
func (k *yubiKey) info(card *piv.YubiKey) (piv.KeyInfo, error) {
	var info piv.KeyInfo
	var err error
	if tellsItsKeys(card) {
		info, err = card.KeyInfo(k.slot)
		if err != nil {
			return info, k.failure(err)
		}
	} else {
		certificate, err := card.Certificate(k.slot)
		if err != nil {
			if certificate, err = card.Attest(k.slot); err != nil {
				return info, failure("not-found", "slot %s has neither a certificate nor a key that was made there, "+
					"and an older YubiKey does not tell of others", k.slot)
			}
		}
		info.PublicKey = certificate.PublicKey
	}
	public, ok := info.PublicKey.(*rsa.PublicKey)
	if !ok {
		return info, failure("key-type", "slot %s holds no RSA key", k.slot)
	}
	return info, checkSize(public)
}

func (k *yubiKey) signWith(card *piv.YubiKey, digest []byte) ([]byte, error) {
	info, err := k.info(card)
	if err != nil {
		return nil, err
	}
	policy := info.PINPolicy
	if policy == 0 {
		policy = piv.PINPolicyAlways
		if !k.with {
			policy = piv.PINPolicyNever
		}
	}
	auth := piv.KeyAuth{PINPolicy: policy}
	if policy == piv.PINPolicyOnce || policy == piv.PINPolicyAlways {
		if !k.with {
			return nil, failure("pin", "the key is for who has the PIN; name the file that has it: ?pin-source=file:PATH")
		}
		// A PIN that was mistyped in a file is not to lock the YubiKey.
		if left, err := card.Retries(); err == nil && left == 0 {
			return nil, failure("pin", "the PIN is blocked; nothing was tried; the PUK sets another one")
		} else if err == nil && left == 1 {
			return nil, failure("pin", "one try is left before the PIN is blocked, and it was not spent: enter it by hand, "+
				"such as with ykman piv access change-pin")
		}
		auth.PIN = k.pin.Reveal()
	}
	switch {
	case policy == piv.PINPolicyMatchOnce || policy == piv.PINPolicyMatchAlways:
		notice("touch the YubiKey with your finger")
	case info.TouchPolicy == piv.TouchPolicyAlways:
		notice("touch the YubiKey")
	case info.TouchPolicy != piv.TouchPolicyNever:
		notice("touch the YubiKey if it blinks")
	}
	private, err := card.PrivateKey(k.slot, info.PublicKey, auth)
	if err != nil {
		return nil, k.failure(err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, failure("key-type", "the key in slot %s does not sign", k.slot)
	}
	signature, err := signer.Sign(nil, digest, crypto.SHA256)
	if statusOf(err) == notSatisfied && (info.TouchPolicy == piv.TouchPolicyAlways ||
		info.TouchPolicy == piv.TouchPolicyCached) {
		return nil, failure("declined", "the YubiKey was not touched in time")
	}
	if err != nil {
		return nil, k.failure(err)
	}
	return signature, nil
}

func (k *yubiKey) importTo(card *piv.YubiKey, private *rsa.PrivateKey) error {
	if !tellsItsKeys(card) {
		v := card.Version()
		return failure("unsupported", "a YubiKey of version %d.%d does not tell whether a slot is empty; "+
			"import with ykman piv keys import, and a certificate with it", v.Major, v.Minor)
	}
	_, err := card.KeyInfo(k.slot)
	switch {
	case err == nil:
		return failure("exists", "slot %s has a key already; nothing was changed", k.slot)
	case !errors.Is(err, piv.ErrNotFound):
		return k.failure(err)
	}
	management := piv.DefaultManagementKey
	if !k.management.IsZero() {
		if management, err = hex.DecodeString(k.management.Reveal()); err != nil {
			return failure("denied", "the management key is not hexadecimal")
		}
	}
	if err := card.SetPrivateKeyInsecure(management, k.slot, private,
		piv.Key{PINPolicy: k.pinPolicy, TouchPolicy: k.touch}); err != nil {
		if status := statusOf(err); status == notSatisfied || strings.Contains(err.Error(), "management") {
			return failure("denied", "the YubiKey does not take the management key; name the file that has it: "+
				"?management-key-source=file:PATH")
		}
		return k.failure(err)
	}
	return nil
}

// notSatisfied is the status word for a PIN, a touch or a management key that is missing
// (ISO/IEC 7816-4, "security status not satisfied").
const notSatisfied = 0x6982

// statusOf is the status word in an error, or 0.
func statusOf(err error) uint16 {
	type status interface {
		error
		Status() uint16
	}
	if e, ok := errors.AsType[status](err); ok {
		return e.Status()
	}
	return 0
}

func (k *yubiKey) failure(err error) error {
	if wrong, ok := errors.AsType[piv.AuthErr](err); ok {
		if wrong.Retries == 0 {
			return failure("pin", "the PIN is wrong, and blocked now; the PUK sets another one")
		}
		return failure("pin", "the PIN is wrong; it was tried once; %d tries are left", wrong.Retries)
	}
	switch {
	case errors.Is(err, piv.ErrNotFound):
		return failure("not-found", "slot %s of the YubiKey has no key", k.slot)
	case statusOf(err) == notSatisfied:
		return failure("pin", "the YubiKey wants a PIN or a touch that it did not get")
	case statusOf(err) != 0:
		return failure("failed", "the YubiKey: %v", err)
	}
	return failure("unavailable", "the YubiKey: %v", err)
}
