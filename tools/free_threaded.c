/* `python` for the CPython in panda3d's deploy-stub, whose own main() only starts a frozen program.
 *
 * It is preloaded, and takes the place of main(). It knows what CPython's command line does in tests: -c, -m, a file,
 * a program from the standard input, and all options that CPython reads itself. HOME and PROGRAM are defined by
 * free_threaded.py.
 */

#define _GNU_SOURCE
#define Py_GIL_DISABLED 1
#include <Python.h>
#include <dlfcn.h>

static const char RUN[] =
    "import os, runpy, sys\n"
    "def run(command, module, filename):\n"
    "    names = sys.modules['__main__'].__dict__\n"
    "    def first(folder):\n"
    "        if not sys.flags.safe_path:\n"
    "            sys.path.insert(0, folder)\n"
    "    if module is not None:\n"
    "        first(os.getcwd())\n"
    "        runpy._run_module_as_main(module)\n"
    "    elif filename is not None:\n"
    "        first(os.path.dirname(os.path.realpath(filename)))\n"
    "        names['__file__'] = filename\n"
    "        with open(filename, 'rb') as file:\n"
    "            exec(compile(file.read(), filename, 'exec'), names)\n"
    "    else:\n"
    "        first('')\n"
    "        text = sys.stdin.read() if command is None else command\n"
    "        exec(compile(text, '<string>', 'exec'), names)\n";

static void check(PyStatus status) {
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
}

static PyObject *text(const wchar_t *given) {
    return given ? PyUnicode_FromWideChar(given, -1) : Py_NewRef(Py_None);
}

static int start(int argc, char **argv, char **environment) {
    (void)environment;
    /* Other programs that are started are not this one. */
    unsetenv("LD_PRELOAD");
    unsetenv("LD_LIBRARY_PATH");
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    check(PyConfig_SetBytesArgv(&config, argc, argv));
    check(PyConfig_SetBytesString(&config, &config.home, HOME));
    check(PyConfig_SetBytesString(&config, &config.program_name, PROGRAM));
    check(PyConfig_SetBytesString(&config, &config.executable, PROGRAM));
    check(PyConfig_Read(&config));
    check(Py_InitializeFromConfig(&config));
    PyImport_ImportModule("__main__");
    PyObject *names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *done = PyRun_String(RUN, Py_file_input, names, names);
    if (done) {
        done = PyObject_CallFunctionObjArgs(PyDict_GetItemString(names, "run"), text(config.run_command),
                                            text(config.run_module), text(config.run_filename), NULL);
    }
    int status = 0;
    if (!done) {
        PyErr_Print(); /* It ends the process if that is SystemExit. */
        status = 1;
    }
    return Py_FinalizeEx() < 0 ? 120 : status;
}

typedef int Main(int, char **, char **);
typedef int StartMain(Main *, int, char **, Main *, void (*)(void), void (*)(void), void *);

int __libc_start_main(Main *theirs, int argc, char **argv, Main *init, void (*fini)(void), void (*rtld)(void),
                      void *stack) {
    (void)theirs;
    StartMain *real = (StartMain *)dlsym(RTLD_NEXT, "__libc_start_main");
    return real(start, argc, argv, init, fini, rtld, stack);
}
