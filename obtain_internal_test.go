package ghapp

import "testing"

func TestFlightTakesWhatTheOneBeforeItLanded(t *testing.T) {
	// A caller finds no token, the flight of another lands, and only then its own
	// takes off. The App cannot mint: its Signer fails.
	a := openApp(t, Config{})
	w, err := a.want(TokenRequest{Repositories: []string{"acme/site"}})
	if err != nil {
		t.Fatal(err)
	}
	here := place{Installation: 1}
	e := &entry{}
	if _, err := a.obtain(t.Context(), a.key(w, here), e, w, here); err == nil {
		t.Fatal("minted without a signer: this test proves nothing")
	}
	landed := aged(0)
	e.token.Store(landed)
	if token, err := a.obtain(t.Context(), a.key(w, here), e, w, here); token != landed || err != nil {
		t.Errorf("token %v, error %v, want the token that has just landed", token, err)
	}
}
