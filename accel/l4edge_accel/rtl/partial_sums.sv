// One half of the double buffer for sums: a memory with one port to write and one to read.
module partial_sums #(
    parameter int WORD = 192,
    parameter int DEPTH = 256,
    parameter int ADDRESS = $clog2(DEPTH)
) (
    input  wire               clock,
    input  wire               write,
    input  wire [ADDRESS-1:0] write_address,
    input  wire [WORD-1:0]    write_data,
    input  wire [ADDRESS-1:0] read_address,
    output reg  [WORD-1:0]    read_data
);
    reg [WORD-1:0] words [0:(1<<ADDRESS)-1];
    always_ff @(posedge clock) begin
        if (write) words[write_address] <= write_data;
        read_data <= words[read_address];
    end
endmodule
