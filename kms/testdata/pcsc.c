/* A libpcsclite for tests (https://pcsclite.apdu.fr/api/). Each socket in the directory
   KMS_TEST_CARDS is a reader with a card in it; commands and answers go through it, each
   after its length in four octets. Without a directory there is no service. */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <winscard.h>

const SCARD_IO_REQUEST g_rgSCardT0Pci = {SCARD_PROTOCOL_T0, sizeof(SCARD_IO_REQUEST)};
const SCARD_IO_REQUEST g_rgSCardT1Pci = {SCARD_PROTOCOL_T1, sizeof(SCARD_IO_REQUEST)};
const SCARD_IO_REQUEST g_rgSCardRawPci = {SCARD_PROTOCOL_RAW, sizeof(SCARD_IO_REQUEST)};

LONG SCardEstablishContext(DWORD scope, LPCVOID one, LPCVOID two, LPSCARDCONTEXT context) {
	*context = 1;
	return getenv("KMS_TEST_CARDS") == NULL ? SCARD_E_NO_SERVICE : SCARD_S_SUCCESS;
}

LONG SCardReleaseContext(SCARDCONTEXT context) { return SCARD_S_SUCCESS; }

LONG SCardListReaders(SCARDCONTEXT context, LPCSTR groups, LPSTR readers, LPDWORD size) {
	DIR *dir = opendir(getenv("KMS_TEST_CARDS"));
	if (dir == NULL) return SCARD_E_NO_SERVICE;
	DWORD length = 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.') continue;
		DWORD more = strlen(entry->d_name) + 1;
		if (readers != NULL) memcpy(readers + length, entry->d_name, more);
		length += more;
	}
	closedir(dir);
	if (length == 0) return SCARD_E_NO_READERS_AVAILABLE;
	if (readers != NULL) readers[length] = 0;
	*size = length + 1;
	return SCARD_S_SUCCESS;
}

LONG SCardConnect(SCARDCONTEXT context, LPCSTR reader, DWORD mode, DWORD protocols, LPSCARDHANDLE card, LPDWORD protocol) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", getenv("KMS_TEST_CARDS"), reader);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return SCARD_E_SHARING_VIOLATION;
	*card = fd;
	*protocol = SCARD_PROTOCOL_T1;
	return SCARD_S_SUCCESS;
}

LONG SCardDisconnect(SCARDHANDLE card, DWORD disposition) { return close(card) == 0 ? SCARD_S_SUCCESS : SCARD_E_INVALID_HANDLE; }

LONG SCardBeginTransaction(SCARDHANDLE card) { return SCARD_S_SUCCESS; }

LONG SCardEndTransaction(SCARDHANDLE card, DWORD disposition) { return SCARD_S_SUCCESS; }

static int all(int fd, void *buffer, size_t length, int out) {
	for (char *at = buffer; length > 0;) {
		ssize_t n = out ? write(fd, at, length) : read(fd, at, length);
		if (n <= 0) return 0;
		at += n;
		length -= n;
	}
	return 1;
}

LONG SCardTransmit(SCARDHANDLE card, const SCARD_IO_REQUEST *send, LPCBYTE command, DWORD length, SCARD_IO_REQUEST *receive, LPBYTE answer, LPDWORD size) {
	uint32_t n = htonl(length);
	if (!all(card, &n, sizeof n, 1) || !all(card, (void *)command, length, 1) || !all(card, &n, sizeof n, 0)) return SCARD_W_REMOVED_CARD;
	n = ntohl(n);
	if (n > *size) return SCARD_E_INSUFFICIENT_BUFFER;
	*size = n;
	return all(card, answer, n, 0) ? SCARD_S_SUCCESS : SCARD_W_REMOVED_CARD;
}
