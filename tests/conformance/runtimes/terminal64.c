/* A stand-in for MetaTrader 5's terminal64.exe: reads the start-up file it is given, as /config:FILE, and stays until it
   is closed. It opens no pipe, so that the official package finds no terminal behind it.

   logs\stand_in.log tells what it read; the password only by its length and a checksum. Orders are the names of files
   in MQL5\Files: exit-N ends it with that code, grow takes memory until somebody objects, deaf ignores WM_CLOSE.

   Its window is of one colour, and a click into it is told in the log: somebody looks at it, but nobody may touch it. */
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include <windows.h>

static int deaf;
static FILE *out;

static void tell(const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfwprintf(out, format, arguments);
    va_end(arguments);
    fputwc(L'\n', out);
    fflush(out);
}

static LRESULT CALLBACK on_message(HWND window, UINT message, WPARAM w, LPARAM l)
{
    if (message == WM_CLOSE && deaf)
        return 0;
    if (message == WM_LBUTTONDOWN || message == WM_KEYDOWN)
        tell(L"touched");
    if (message == WM_DESTROY)
        PostQuitMessage(0);
    return DefWindowProcW(window, message, w, l);
}

static void read_startup(const wchar_t *file)
{
    wchar_t login[64], password[256], server[128], algo[8], live[8];
    unsigned sum = 0;
    GetPrivateProfileStringW(L"Common", L"Login", L"", login, 64, file);
    GetPrivateProfileStringW(L"Common", L"Password", L"", password, 256, file);
    GetPrivateProfileStringW(L"Common", L"Server", L"", server, 128, file);
    GetPrivateProfileStringW(L"Experts", L"Enabled", L"", algo, 8, file);
    GetPrivateProfileStringW(L"Experts", L"AllowLiveTrading", L"", live, 8, file);
    for (const wchar_t *c = password; *c; c++)
        sum = sum * 31 + *c;
    tell(L"login=%ls server=%ls enabled=%ls live=%ls password=%u:%u", login, server, algo, live,
         (unsigned)wcslen(password), sum);
}

static void obey(void)
{
    WIN32_FIND_DATAW found;
    HANDLE search = FindFirstFileW(L"MQL5\\Files\\*", &found);
    if (search == INVALID_HANDLE_VALUE)
        return;
    do {
        if (!wcsncmp(found.cFileName, L"exit-", 5)) {
            wchar_t path[MAX_PATH] = L"MQL5\\Files\\";
            DeleteFileW(wcscat(path, found.cFileName));
            exit(_wtoi(found.cFileName + 5));
        }
        if (!wcscmp(found.cFileName, L"deaf"))
            deaf = 1;
        while (!wcscmp(found.cFileName, L"grow")) {
            char *taken = malloc(16 << 20);
            if (taken)
                memset(taken, 1, 16 << 20);
        }
    } while (FindNextFileW(search, &found));
    FindClose(search);
}

static int may_write(const wchar_t *path)
{
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return 0;
    CloseHandle(file);
    return 1;
}

int WINAPI wWinMain(HINSTANCE instance, HINSTANCE before, LPWSTR line, int show)
{
    WNDCLASSW kind = {0};
    MSG message;
    wchar_t own[MAX_PATH], *config = wcsstr(line, L"/config:");
    GetModuleFileNameW(NULL, own, MAX_PATH);
    /* One of a folder, as the real one. */
    CreateMutexW(NULL, FALSE, L"mt5farm-stand-in");
    if (GetLastError() == ERROR_ALREADY_EXISTS)
        return 0;
    out = _wfopen(L"logs\\stand_in.log", L"a");
    if (!out)
        return 9;
    tell(L"started %ls %ls", own, line);
    if (config)
        read_startup(config + 8);
    tell(L"program writable=%d folder writable=%d update writable=%d", may_write(own), may_write(L"new.tmp"),
         may_write(L"liveupdate\\new.tmp"));
    kind.lpfnWndProc = on_message;
    kind.hInstance = instance;
    kind.lpszClassName = L"MetaQuotes::MetaTrader::5.00";
    kind.hbrBackground = CreateSolidBrush(RGB(0x12, 0x9A, 0x5E));
    RegisterClassW(&kind);
    if (!CreateWindowW(kind.lpszClassName, L"Stand-in", WS_OVERLAPPEDWINDOW | WS_VISIBLE, 0, 0, 300, 200, NULL, NULL,
                       instance, NULL))
        tell(L"no window %lu", GetLastError());
    SetTimer(NULL, 1, 100, NULL);
    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        if (message.message == WM_TIMER)
            obey();
        DispatchMessageW(&message);
    }
    tell(L"closed");
    return 0;
}
