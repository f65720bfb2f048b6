import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.FieldVisitor;
import org.objectweb.asm.Handle;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * Rewrites class files for dx, which takes those of Java 7: `DexReady OUT.jar IN OTHER...`, jars and folders;
 * the others are what runs beside it and is rewritten too.
 *
 * What Java 8 and later added is taken out: nests dissolve and their private members open, static methods of interfaces
 * move into a class of their own, and a body with invokedynamic is replaced by one that throws. Each of these is
 * printed. The result is for checking, and not for shipping.
 */
public final class DexReady {
    private static final int JAVA_7 = 51;
    private static final String COMPANION = "$-CC";
    private final Map<String, byte[]> classes = new TreeMap<>();
    private final Set<String> known = new HashSet<>();

    public static void main(String[] arguments) throws Exception {
        DexReady ready = new DexReady();
        read(Path.of(arguments[1]), ready.classes);
        ready.known.addAll(ready.classes.keySet());
        for (int i = 2; i < arguments.length; i++) {
            Map<String, byte[]> others = new TreeMap<>();
            read(Path.of(arguments[i]), others);
            ready.known.addAll(others.keySet());
        }
        try (ZipOutputStream out = new ZipOutputStream(new FileOutputStream(arguments[0]))) {
            for (byte[] data : ready.classes.values()) ready.write(data, out);
        }
        System.out.println("classes " + ready.classes.size());
    }

    private static void read(Path place, Map<String, byte[]> into) throws Exception {
        if (Files.isDirectory(place)) {
            try (Stream<Path> files = Files.walk(place)) {
                for (Path file : (Iterable<Path>) files::iterator) {
                    if (file.toString().endsWith(".class")) add(Files.readAllBytes(file), into);
                }
            }
            return;
        }
        try (ZipFile jar = new ZipFile(place.toFile())) {
            for (ZipEntry entry : (Iterable<ZipEntry>) jar.stream().map(e -> (ZipEntry) e)::iterator) {
                boolean isExtra = entry.getName().startsWith("META-INF/") || entry.getName().endsWith("module-info.class");
                if (entry.getName().endsWith(".class") && !isExtra) add(jar.getInputStream(entry).readAllBytes(), into);
            }
        }
    }

    private static void add(byte[] data, Map<String, byte[]> into) {
        into.put(new ClassReader(data).getClassName(), data);
    }

    private void write(byte[] data, ZipOutputStream out) throws Exception {
        ClassReader reader = new ClassReader(data);
        ClassWriter writer = new ClassWriter(0);
        Rewriter rewriter = new Rewriter(writer, reader, bodiesWithCallSites(reader));
        reader.accept(rewriter, 0);
        store(reader.getClassName(), writer, out);
        if (rewriter.companion != null) {
            rewriter.companion.visitEnd();
            store(reader.getClassName() + COMPANION, rewriter.companion, out);
        }
    }

    private static void store(String name, ClassWriter writer, ZipOutputStream out) throws Exception {
        out.putNextEntry(new ZipEntry(name + ".class"));
        out.write(writer.toByteArray());
        out.closeEntry();
    }

    private static Set<String> bodiesWithCallSites(ClassReader reader) {
        Set<String> found = new HashSet<>();
        reader.accept(new ClassVisitor(Opcodes.ASM9) {
            @Override
            public MethodVisitor visitMethod(int access, String name, String type, String signature, String[] thrown) {
                return new MethodVisitor(Opcodes.ASM9) {
                    @Override
                    public void visitInvokeDynamicInsn(String called, String calledType, Handle handle, Object... rest) {
                        found.add(name + type);
                    }
                };
            }
        }, 0);
        return found;
    }

    /** Writes one class as Java 7 knows it. */
    private final class Rewriter extends ClassVisitor {
        private final String owner;
        private final boolean isInterface;
        private final Set<String> dynamic;
        private ClassWriter companion;

        Rewriter(ClassVisitor next, ClassReader reader, Set<String> dynamic) {
            super(Opcodes.ASM9, next);
            this.owner = reader.getClassName();
            this.isInterface = (reader.getAccess() & Opcodes.ACC_INTERFACE) != 0;
            this.dynamic = dynamic;
        }

        @Override
        public void visit(int version, int access, String name, String signature, String parent, String[] interfaces) {
            super.visit(JAVA_7, access, name, signature, parent, interfaces);
        }

        @Override
        public void visitNestHost(String host) {}

        @Override
        public void visitNestMember(String member) {}

        @Override
        public void visitPermittedSubclass(String subclass) {}

        @Override
        public FieldVisitor visitField(int access, String name, String type, String signature, Object value) {
            return super.visitField(opened(access), name, type, signature, value);
        }

        @Override
        public MethodVisitor visitMethod(int access, String name, String type, String signature, String[] thrown) {
            boolean moves = isInterface && (access & Opcodes.ACC_STATIC) != 0 && !name.equals("<clinit>");
            MethodVisitor written = moves
                ? companion().visitMethod(opened(access) | Opcodes.ACC_PUBLIC, name, type, signature, thrown)
                : super.visitMethod(opened(access), name, type, signature, thrown);
            if (!dynamic.contains(name + type)) return new Calls(written);
            System.out.println("emptied " + owner + "." + name + type);
            throwInstead(written, access, type);
            return null;
        }

        private ClassWriter companion() {
            if (companion == null) {
                companion = new ClassWriter(0);
                int access = Opcodes.ACC_PUBLIC | Opcodes.ACC_FINAL | Opcodes.ACC_SUPER;
                companion.visit(JAVA_7, access, owner + COMPANION, null, "java/lang/Object", null);
            }
            return companion;
        }
    }

    /** Calls of static methods of interfaces go where these methods moved to. */
    private final class Calls extends MethodVisitor {
        Calls(MethodVisitor next) {
            super(Opcodes.ASM9, next);
        }

        @Override
        public void visitMethodInsn(int code, String owner, String name, String type, boolean ofInterface) {
            boolean moved = code == Opcodes.INVOKESTATIC && ofInterface && known.contains(owner);
            super.visitMethodInsn(code, moved ? owner + COMPANION : owner, name, type, ofInterface && !moved);
        }
    }

    private static int opened(int access) {
        return access & ~Opcodes.ACC_PRIVATE;
    }

    private static void throwInstead(MethodVisitor body, int access, String type) {
        String error = "java/lang/UnsupportedOperationException";
        body.visitCode();
        body.visitTypeInsn(Opcodes.NEW, error);
        body.visitInsn(Opcodes.DUP);
        body.visitMethodInsn(Opcodes.INVOKESPECIAL, error, "<init>", "()V", false);
        body.visitInsn(Opcodes.ATHROW);
        body.visitMaxs(2, (Type.getArgumentsAndReturnSizes(type) >> 2) + 1);
        body.visitEnd();
    }
}
