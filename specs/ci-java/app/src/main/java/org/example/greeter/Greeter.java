package org.example.greeter;

/** Prints one line: enough to show that the jar was compiled, packed and started by the right runtime. */
public final class Greeter {
    private Greeter() {}

    public static void main(String[] arguments) {
        String name = arguments.length == 0 ? "world" : String.join(" ", arguments);
        System.out.println("hello, " + name + ", from Java " + Runtime.version().feature());
    }
}
