// Calls one of Microsoft's compilers on many shaders, as wgpu-hal does, for tests/compilers.
//
//   microsoft LIBRARY TARGET [ARGUMENT...] LIST
//
// LIBRARY is DXC (dxcompiler.dll, libdxcompiler.so) or FXC (d3dcompiler_47.dll), told apart by what it exports. LIST has
// a line FILE<tab>ENTRY<tab>NAME for each shader. What is printed is told in batch.rs.
//
// Of DXC's interfaces only what is called is declared here, so that no header of it is needed.

#include <clocale>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <windows.h>
#else
#include <dlfcn.h>
#define WINAPI
using HRESULT = int32_t;
#endif

namespace {

struct Guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

// What every interface starts with. On Linux, DXC's has a destructor, which takes two places in the table of functions.
struct Unknown {
    virtual HRESULT WINAPI QueryInterface(const Guid &, void **) = 0;
    virtual uint32_t WINAPI AddRef() = 0;
    virtual uint32_t WINAPI Release() = 0;
#ifndef _WIN32
    virtual void complete_destructor() = 0;
    virtual void deleting_destructor() = 0;
#endif
};

struct Blob : Unknown {
    virtual void *WINAPI GetBufferPointer() = 0;
    virtual size_t WINAPI GetBufferSize() = 0;
};

struct Result : Unknown {
    virtual HRESULT WINAPI GetStatus(HRESULT *) = 0;
    virtual HRESULT WINAPI GetResult(Blob **) = 0;
    virtual HRESULT WINAPI GetErrorBuffer(Blob **) = 0;
};

struct Source {
    const void *text;
    size_t bytes;
    uint32_t encoding;
};

struct Compiler : Unknown {
    virtual HRESULT WINAPI Compile(const Source *, const wchar_t **arguments, uint32_t count, Unknown *includes,
                                   const Guid &, void **result) = 0;
};

struct Version : Unknown {
    virtual HRESULT WINAPI GetVersion(uint32_t *major, uint32_t *minor) = 0;
    virtual HRESULT WINAPI GetFlags(uint32_t *) = 0;
    virtual HRESULT WINAPI GetCommitInfo(uint32_t *count, char **hash) = 0;
};

const Guid COMPILER_CLASS{0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
const Guid COMPILER{0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
const Guid RESULT{0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
const Guid VERSION{0xb04f5b50, 0x2059, 0x4f12, {0xa8, 0xff, 0xa1, 0xe0, 0xcd, 0xe1, 0xcc, 0x7e}};
const Guid VERSION_2{0xfb6904c4, 0x42f0, 0x4b62, {0x9c, 0x46, 0x98, 0x3a, 0xf7, 0xda, 0x7c, 0x83}};

const uint32_t UTF8 = 65001;
const uint32_t FXC_STRICT = 1 << 11;

using CreateInstance = HRESULT(WINAPI *)(const Guid &, const Guid &, void **);
using CompileHlsl = HRESULT(WINAPI *)(const void *text, size_t bytes, const char *name, const void *defines, void *includes,
                                      const char *entry, const char *target, unsigned flags, unsigned effect, Blob **code,
                                      Blob **messages);

[[noreturn]] void fail(const std::string &why) {
    fprintf(stderr, "%s\n", why.c_str());
    exit(2);
}

#ifdef _WIN32
HMODULE open(const char *path) { return LoadLibraryA(path); }
void *find(HMODULE library, const char *name) { return reinterpret_cast<void *>(GetProcAddress(library, name)); }

// The four numbers that Explorer shows.
std::string file_version(HMODULE library) {
    HRSRC found = FindResourceA(library, MAKEINTRESOURCEA(VS_VERSION_INFO), reinterpret_cast<LPCSTR>(RT_VERSION));
    HGLOBAL loaded = found ? LoadResource(library, found) : nullptr;
    const char *bytes = loaded ? static_cast<const char *>(LockResource(loaded)) : nullptr;
    for (DWORD at = 0; bytes && at + sizeof(VS_FIXEDFILEINFO) <= SizeofResource(library, found); at += 4) {
        auto info = reinterpret_cast<const VS_FIXEDFILEINFO *>(bytes + at);
        if (info->dwSignature == 0xfeef04bd) {
            std::ostringstream text;
            text << HIWORD(info->dwFileVersionMS) << '.' << LOWORD(info->dwFileVersionMS) << '.'
                 << HIWORD(info->dwFileVersionLS) << '.' << LOWORD(info->dwFileVersionLS);
            return text.str();
        }
    }
    return "";
}
#else
void *open(const char *path) { return dlopen(path, RTLD_NOW); }
void *find(void *library, const char *name) { return dlsym(library, name); }
std::string file_version(void *) { return ""; }
#endif

std::string text_of(Blob *blob) {
    if (!blob) return "";
    std::string text(static_cast<const char *>(blob->GetBufferPointer()), blob->GetBufferSize());
    blob->Release();
    return text.substr(0, text.find('\0'));
}

std::wstring wide(const std::string &ascii) { return std::wstring(ascii.begin(), ascii.end()); }

struct Shader {
    std::string text, entry, name;
};

struct Outcome {
    bool taken;
    std::string message;
};

class Dxc {
    Compiler *compiler = nullptr;
    std::vector<std::string> arguments;

  public:
    Dxc(CreateInstance create, const std::vector<std::string> &arguments) : arguments(arguments) {
        if (create(COMPILER_CLASS, COMPILER, reinterpret_cast<void **>(&compiler)) != 0) fail("DXC gives no compiler");
    }

    std::string version() const {
        uint32_t major = 0, minor = 0, commits = 0;
        Version *told = nullptr;
        std::ostringstream text;
        if (compiler->QueryInterface(VERSION_2, reinterpret_cast<void **>(&told)) == 0) {
            char *hash = nullptr;
            told->GetVersion(&major, &minor);
            told->GetCommitInfo(&commits, &hash);
            text << major << '.' << minor << ", commit " << std::string(hash ? hash : "").substr(0, 9);
        } else if (compiler->QueryInterface(VERSION, reinterpret_cast<void **>(&told)) == 0) {
            told->GetVersion(&major, &minor);
            text << major << '.' << minor;
        }
        return text.str();
    }

    Outcome compile(const Shader &shader, const std::string &target) {
        std::vector<std::wstring> wides{wide(shader.name), L"-E", wide(shader.entry), L"-T", wide(target)};
        for (auto &argument : arguments) wides.push_back(wide(argument));
        std::vector<const wchar_t *> pointers;
        for (auto &argument : wides) pointers.push_back(argument.c_str());
        Source source{shader.text.data(), shader.text.size(), UTF8};
        Result *result = nullptr;
        HRESULT status = compiler->Compile(&source, pointers.data(), uint32_t(pointers.size()), nullptr, RESULT,
                                           reinterpret_cast<void **>(&result));
        if (status != 0 || !result) return {false, "it does not even start to compile"};
        result->GetStatus(&status);
        Blob *messages = nullptr;
        result->GetErrorBuffer(&messages);
        std::string message = text_of(messages);
        result->Release();
        // wgpu-hal takes any message for an error. On Linux there is no library that signs the result, and DXC says so.
        if (message.rfind("warning: DXIL.dll not found", 0) == 0) message.clear();
        return {status >= 0 && message.empty(), message};
    }
};

class Fxc {
    CompileHlsl compiler;

  public:
    explicit Fxc(CompileHlsl compiler) : compiler(compiler) {}

    Outcome compile(const Shader &shader, const std::string &target) {
        Blob *code = nullptr, *messages = nullptr;
        HRESULT status = compiler(shader.text.data(), shader.text.size(), shader.name.c_str(), nullptr, nullptr,
                                  shader.entry.c_str(), target.c_str(), FXC_STRICT, 0, &code, &messages);
        std::string message = text_of(messages);
        if (code) code->Release();
        return {status >= 0 && code, message};
    }
};

template <class Any> void compile_all(Any &compiler, const std::string &version, const std::string &target, const char *list) {
    printf("version %s\n", version.c_str());
    std::ifstream lines(list);
    if (!lines) fail(std::string("cannot read ") + list);
    std::string line;
    while (std::getline(lines, line)) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        std::istringstream parts(line);
        std::string file;
        Shader shader;
        std::getline(parts, file, '\t');
        std::getline(parts, shader.entry, '\t');
        if (!std::getline(parts, shader.name)) fail("a line of the list is cut: " + line);
        std::ifstream stream(file, std::ios::binary);
        if (!stream) fail("cannot read " + file);
        std::ostringstream text;
        text << stream.rdbuf();
        shader.text = text.str();
        printf("at %s\n", file.c_str());
        fflush(stdout);
        Outcome outcome = compiler.compile(shader, target);
        if (outcome.taken) {
            printf("ok %s\n", file.c_str());
        } else {
            printf("refused %s %zu\n", file.c_str(), outcome.message.size());
            fwrite(outcome.message.data(), 1, outcome.message.size(), stdout);
        }
        fflush(stdout);
    }
}

} // namespace

int main(int count, char **values) {
    if (count < 4) fail("usage: microsoft LIBRARY TARGET [ARGUMENT...] LIST");
    setlocale(LC_ALL, "C.UTF-8"); // DXC turns the wide arguments into bytes by it
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY); // lines as they are, with no carriage returns that would not be counted
#endif
    auto library = open(values[1]);
    if (!library) fail(std::string("cannot load ") + values[1]);
    std::string target = values[2];
    std::vector<std::string> arguments(values + 3, values + count - 1);
    const char *list = values[count - 1];
    std::string version = file_version(library);
    if (auto create = reinterpret_cast<CreateInstance>(find(library, "DxcCreateInstance"))) {
        Dxc compiler(create, arguments);
        compile_all(compiler, version.empty() ? compiler.version() : version, target, list);
    } else if (auto compile = reinterpret_cast<CompileHlsl>(find(library, "D3DCompile"))) {
        Fxc compiler(compile);
        compile_all(compiler, version, target, list);
    } else {
        fail(std::string("neither DXC nor FXC is in ") + values[1]);
    }
    return 0;
}
