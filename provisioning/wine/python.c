/* python.exe for the Windows Python under Wine: hands its command line to the interpreter in the DLL beside it.
   PYTHON_DLL is given by the build, for example L"python311.dll". */
#include <stdio.h>
#include <windows.h>

typedef int (*py_main)(int, wchar_t **);

int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(PYTHON_DLL);
    py_main run = python ? (py_main)(void *)GetProcAddress(python, "Py_Main") : NULL;
    if (!run) {
        fprintf(stderr, "python.exe: cannot load the interpreter (error %lu)\n", GetLastError());
        return 1;
    }
    return run(argc, argv);
}
