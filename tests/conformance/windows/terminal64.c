/* A stand-in for terminal64.exe: it reads the start-up file that its command line names, writes down in seen.txt what it
   has read, shows a window that ends it when it is closed, and serves nothing.
   Files in its folder change it: `deaf` (it ignores WM_CLOSE), `parent` (it starts a child that waits). */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

static int deaf;

static int there(const wchar_t *name)
{
    return GetFileAttributesW(name) != INVALID_FILE_ATTRIBUTES;
}

static LRESULT CALLBACK on_message(HWND window, UINT message, WPARAM w, LPARAM l)
{
    if (message == WM_CLOSE && deaf)
        return 0;
    if (message == WM_DESTROY)
        PostQuitMessage(0);
    return DefWindowProcW(window, message, w, l);
}

static void note_what_is_read(const wchar_t *ini)
{
    wchar_t login[64], trading[64], folder[MAX_PATH];
    FILE *seen;
    GetPrivateProfileStringW(L"Common", L"Login", L"none", login, 64, ini);
    GetPrivateProfileStringW(L"Experts", L"AllowLiveTrading", L"none", trading, 64, ini);
    GetCurrentDirectoryW(MAX_PATH, folder);
    seen = _wfopen(L"seen.tmp", L"w");
    fprintf(seen, "%ls %ls %lu %ls\n", login, trading, GetCurrentProcessId(), folder);
    fclose(seen);
    MoveFileExW(L"seen.tmp", L"seen.txt", MOVEFILE_REPLACE_EXISTING);
}

int wmain(int argc, wchar_t **argv)
{
    WNDCLASSW kind = {0};
    MSG message;
    int i;
    if (argc > 1 && !wcscmp(argv[1], L"/exit"))
        return argc > 2 ? _wtoi(argv[2]) : 0;
    if (argc > 1 && !wcscmp(argv[1], L"/wait")) {
        Sleep(INFINITE);
        return 0;
    }
    deaf = there(L"deaf");
    if (there(L"parent")) {
        STARTUPINFOW startup = {sizeof startup};
        PROCESS_INFORMATION child;
        wchar_t program[MAX_PATH], line[] = L"terminal64.exe /wait";
        GetModuleFileNameW(NULL, program, MAX_PATH);
        CreateProcessW(program, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child);
    }
    kind.lpfnWndProc = on_message;
    kind.lpszClassName = L"MetaQuotes::MetaTrader::5.00";
    RegisterClassW(&kind);
    if (!CreateWindowExW(0, kind.lpszClassName, L"stand-in", WS_OVERLAPPEDWINDOW, 0, 0, 10, 10, NULL, NULL, NULL, NULL))
        return 3;
    for (i = 1; i < argc; i++)
        if (!wcsncmp(argv[i], L"/config:", 8))
            note_what_is_read(argv[i] + 8);
    while (GetMessageW(&message, NULL, 0, 0) > 0)
        DispatchMessageW(&message);
    return 0;
}
