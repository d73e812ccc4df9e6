/* A PKCS#11 module for tests. It hands everything on to the module in KMS_TEST_REAL,
   writes each C_Login to KMS_TEST_LOGINS, and misbehaves as KMS_TEST_MODULE says. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkcs11go.h"

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST_PTR real;

static int is(const char *part) {
	const char *said = getenv("KMS_TEST_MODULE");
	return said != NULL && strcmp(said, part) == 0;
}

static CK_RV Initialize(CK_VOID_PTR arguments) {
	if (is("hang")) {
		for (;;) pause();
	}
	if (is("crash")) *(volatile int *)16 = 1;
	if (is("abort")) abort();
	if (is("recurse")) {
		volatile char *page = __builtin_frame_address(0);
		for (;;) *(page -= 4096) = 1;
	}
	if (is("exit")) exit(0);
	if (is("chatter")) {
		printf("vendor module 1.0\n");
		fflush(stdout);
	}
	if (is("not initialized")) return CKR_GENERAL_ERROR;
	return real->C_Initialize(arguments);
}

static CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (is("final try")) info->flags |= CKF_USER_PIN_FINAL_TRY;
	if (is("locked")) info->flags |= CKF_USER_PIN_LOCKED;
	if (is("pin pad")) info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
	return rv;
}

static CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
	const char *path = getenv("KMS_TEST_LOGINS");
	FILE *log = path == NULL ? NULL : fopen(path, "a");
	if (log != NULL) {
		fprintf(log, "login %lu\n", (unsigned long)user);
		fclose(log);
	}
	if (is("locks")) return CKR_PIN_LOCKED;
	if (is("expired")) return CKR_PIN_EXPIRED;
	if (is("pin pad") && length == 0) return real->C_Login(session, user, (CK_UTF8CHAR_PTR)getenv("KMS_TEST_PAD"), strlen(getenv("KMS_TEST_PAD")));
	return real->C_Login(session, user, pin, length);
}

static CK_RV GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO_PTR info) {
	if (is("raw RSA") && mechanism == CKM_SHA256_RSA_PKCS) return CKR_MECHANISM_INVALID;
	if (is("no RSA") && (mechanism == CKM_SHA256_RSA_PKCS || mechanism == CKM_RSA_PKCS)) return CKR_MECHANISM_INVALID;
	return real->C_GetMechanismInfo(slot, mechanism, info);
}

static CK_RV SignInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
	if (is("raw key") && mechanism->mechanism == CKM_SHA256_RSA_PKCS) return CKR_MECHANISM_INVALID;
	return real->C_SignInit(session, mechanism, key);
}

static CK_RV Sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature, CK_ULONG_PTR size) {
	if (is("hang in sign")) {
		for (;;) pause();
	}
	if (is("rejected")) return CKR_FUNCTION_REJECTED;
	if (is("removed")) return CKR_DEVICE_REMOVED;
	return real->C_Sign(session, data, length, signature, size);
}

static CK_RV GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR attributes, CK_ULONG count) {
	CK_OBJECT_CLASS class = 0;
	CK_ATTRIBUTE of = {CKA_CLASS, &class, sizeof class};
	if (count == 1 && real->C_GetAttributeValue(session, object, &of, 1) == CKR_OK && class == CKO_PRIVATE_KEY) {
		int modulus = attributes->type == CKA_MODULUS, exponent = attributes->type == CKA_PUBLIC_EXPONENT;
		if ((is("no modulus") && (modulus || exponent)) || (is("no exponent") && exponent)) {
			attributes->ulValueLen = (CK_ULONG)-1;
			return CKR_ATTRIBUTE_TYPE_INVALID;
		}
	}
	CK_RV rv = real->C_GetAttributeValue(session, object, attributes, count);
	if (is("not to sign") && count == 1 && attributes->type == CKA_SIGN && attributes->pValue != NULL) *(CK_BBOOL *)attributes->pValue = CK_FALSE;
	return rv;
}

static CK_RV CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR attributes, CK_ULONG count, CK_OBJECT_HANDLE_PTR object) {
	for (CK_ULONG i = 0; i < count; i++) {
		if (attributes[i].type != CKA_CLASS) continue;
		CK_OBJECT_CLASS class = *(CK_OBJECT_CLASS *)attributes[i].pValue;
		if (is("no public keys") && class == CKO_PUBLIC_KEY) return CKR_DEVICE_MEMORY;
		if (is("no private keys") && class == CKO_PRIVATE_KEY) return CKR_FUNCTION_NOT_SUPPORTED;
	}
	return real->C_CreateObject(session, attributes, count, object);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR functions) {
	if (is("no functions")) return CKR_GENERAL_ERROR;
	void *library = dlopen(getenv("KMS_TEST_REAL"), RTLD_NOW);
	if (library == NULL) return CKR_GENERAL_ERROR;
	CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	CK_RV rv = get(&real);
	if (rv != CKR_OK) return rv;
	list = *real;
	list.C_Initialize = Initialize;
	list.C_GetTokenInfo = GetTokenInfo;
	list.C_Login = Login;
	list.C_GetMechanismInfo = GetMechanismInfo;
	list.C_SignInit = SignInit;
	list.C_Sign = Sign;
	list.C_GetAttributeValue = GetAttributeValue;
	list.C_CreateObject = CreateObject;
	*functions = &list;
	return CKR_OK;
}
